"""What a store holds of a study, read past MLflow from the database's own tables."""

from sqlalchemy import create_engine, text

POINTS = """
    select t.value, m.key, m.step, m.value, count(*) from metrics m
    join tags t on t.run_uuid = m.run_uuid and t.key = 'capo.trial'
    join tags s on s.run_uuid = m.run_uuid and s.key = 'capo.study' and s.value = :study
    join runs r on r.run_uuid = m.run_uuid and r.lifecycle_stage = 'active'
    group by 1, 2, 3, 4 order by 1, 2, 3
"""
RUNS = """
    select t.value, r.status, count(*) from runs r
    join tags t on t.run_uuid = r.run_uuid and t.key = 'capo.trial'
    join tags s on s.run_uuid = r.run_uuid and s.key = 'capo.study' and s.value = :study
    where r.lifecycle_stage = 'active' group by 1, 2 order by 1
"""


def content(store, study):
    """Every run of the study with its state, and every point; each with how often it is there."""
    engine = create_engine(store.uri)
    try:
        with engine.connect() as connection:
            return tuple(
                [tuple(row) for row in connection.execute(text(query), {"study": study.study})]
                for query in (RUNS, POINTS)
            )
    finally:
        engine.dispose()
