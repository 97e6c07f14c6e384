"use strict";
// The page's data are an index of numbers and packed parts; texts were made visible before and are only set as text.
(() => {
  const data = JSON.parse(document.getElementById("index").textContent);
  const byId = (id) => document.getElementById(id);
  const [form, list, shown, tip, count] = ["filters", "list", "shown", "tip", "count"].map(byId);

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // One entry a rollout, in the order of the parts.
  const all = [];
  data.parts.forEach(([trial, step, size], part) => {
    for (let place = 0; place < size; place += 1) {
      const [problem, outcome, flagged, split] = data.index.slice(4 * all.length, 4 * all.length + 4);
      all.push({ part, place, step, outcome, flagged, split, problem: data.problems[problem], variant: data.trials[trial][0],
        seed: data.trials[trial][1], id: data.trials[trial][2] });
    }
  });

  const unpacked = new Map();
  const unpack = (part) => {
    if (!unpacked.has(part)) {
      const bytes = Uint8Array.from(atob(byId(`part${part}`).textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      unpacked.set(part, new Response(stream).json());
    }
    return unpacked.get(part);
  };

  // The list draws the rows in sight alone.
  let found = all;
  let chosen = null;
  const space = element("div", { class: "space" });
  list.append(space);
  const height = 2.7 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const said = { 1: "right", 0: "wrong", "-1": "not verified" };
  const row = (one, number) => {
    const votes = one.split ? ` · ${one.split} % split` : "";
    const made = element("div", { class: "row", role: "option", "aria-selected": one === chosen },
      element("span", { class: said[one.outcome] }, said[one.outcome]), ` · ${one.flagged} flagged${votes} · step ${one.step}.${one.place + 1}`,
      element("br"), element("small", {}, `${one.variant}, seed ${one.seed} · ${one.problem}`));
    made.style.top = `${number * height}px`;
    made.addEventListener("click", () => choose(one));
    return made;
  };
  const drawList = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / height) - 5);
    const last = Math.min(found.length, first + Math.ceil(list.clientHeight / height) + 12);
    space.style.height = `${found.length * height}px`;
    space.replaceChildren(...found.slice(first, last).map((one, at) => row(one, first + at)));
  };

  const fill = (name, values) => {
    for (const value of values) form.elements[name].append(element("option", {}, String(value)));
  };
  const distinct = (key) => [...new Set(all.map((one) => one[key]))];
  fill("variant", distinct("variant"));
  fill("seed", distinct("seed").sort((a, b) => a - b));
  fill("step", distinct("step").sort((a, b) => a - b));

  let asked = 0;
  const filter = async () => {
    const mine = (asked += 1);
    const want = Object.fromEntries(new FormData(form));
    const words = want.words.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (one) => ["variant", "seed", "step", "outcome"].every((key) => want[key] === "" || String(one[key]) === want[key])
      && ["flagged", "split"].every((key) => want[key] === "" || (one[key] > 0) === (want[key] === "1"));
    let next = all.filter(fits);
    if (words.length) {
      const hits = [];
      for (const part of new Set(next.map((one) => one.part))) {
        const rollouts = await unpack(part);
        if (mine !== asked) return;
        count.textContent = `searching, ${hits.length} so far`;
        hits.push(...next.filter((one) => one.part === part).filter((one) => {
          const it = rollouts[one.place];
          const text = [one.problem, it.prompt, ...it.steps.map((step) => step[0].join("")), ...it.critiques.map((c) => c[2])].join("\n").toLowerCase();
          return words.every((word) => text.includes(word));
        }));
      }
      next = hits;
    }
    found = next;
    count.textContent = `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
    list.scrollTop = 0;
    drawList();
  };

  const verdict = ([flags, abstained]) => {
    if (flags === null) return `abstained: ${abstained}`;
    return flags.length ? `flags ${flags.length === 1 ? "step" : "steps"} ${flags.join(", ")}` : "no step wrong";
  };
  const stepLine = (step, number, first, scored) => {
    const [tokens, size, level, judged, reward, advantage, blamed, mark] = step;
    const what = scored ? "score" : "votes";
    const spoken = `step ${number}, ${what} ${judged}, reward ${reward}, advantage ${advantage}${mark === "wrong" ? ", wrong by the exact checker" : ""}`;
    const earned = element("span", { class: "earned" }, `reward ${reward} · advantage ${advantage}`);
    if (blamed) earned.append(" · ", element("b", {}, scored ? "doubted" : "charged"));
    if (mark === "wrong") earned.append(" · ", element("b", {}, "wrong by the exact checker"));
    const line = element("div", { class: `line v${level}${blamed ? " blamed" : ""}`, tabindex: "0", role: "group", "aria-label": spoken },
      element("div", { class: "gutter", "aria-hidden": "true" }, String(number), element("small", {}, judged)),
      element("div", { class: "body" }, element("div", { class: "text", dir: "ltr" }, ...tokens.map((token) => element("span", {}, token))), earned));
    Object.assign(line.dataset, { step: number, count: size, first, told: `${what} ${judged} · reward ${reward} · advantage ${advantage}`,
      split: tokens.length === size ? "1" : "0" });
    return element("li", {}, line);
  };
  const article = async (one, heading) => {
    const it = (await unpack(one.part))[one.place];
    let first = 1;
    const lines = it.steps.map((step, at) => {
      const line = stepLine(step, at + 1, first, it.scored);
      first += step[1];
      return line;
    });
    const critiques = it.critiques.map((critique, at) => element("details",
      { class: `critique${critique[0] === null ? " abstained" : ""}`, "data-flags": (critique[0] ?? []).join(" ") },
      element("summary", {}, `${at + 1}: ${verdict(critique)}`),
      critique[2] ? element("pre", { dir: "ltr", tabindex: "0" }, critique[2]) : element("p", { class: "meta" }, "This critic writes no text.")));
    return element("article", { class: "rollout", "data-rollout": `${one.id} ${one.step}.${one.place + 1}` },
      element("h3", {}, `${heading}${one.variant}, seed ${one.seed}, step ${one.step}, rollout ${one.place + 1}: answer ${said[one.outcome]}`),
      element("p", { class: "meta" }, `${one.problem} · reference answer ${it.answer} · ${it.group} · trial ${one.id}`),
      element("pre", { dir: "ltr" }, it.prompt), element("ol", {}, ...lines),
      element("p", { class: "meta" }, it.note), ...(critiques.length ? [element("h4", {}, "Critiques"), ...critiques] : []));
  };

  const place = () => {
    const [part, at] = chosen ? [chosen.part, chosen.place] : [-1, -1];
    return found.findIndex((one) => one.part === part && one.place === at);
  };
  const choose = async (one) => {
    chosen = one;
    tip.hidden = true;
    const made = await article(one, "");
    if (chosen !== one) return;
    shown.replaceChildren(made);
    shown.scrollTop = 0;
    drawList();
  };
  const open = async () => {
    const at = ([part, where]) => all.find((one) => one.part === part && one.place === where);
    const pair = data.opening.map(at);
    if (!pair.length) {
      if (all.length) await choose(all[0]);
      return;
    }
    const names = pair.length > 1 ? ["Before training: ", "After training: "] : [""];
    shown.replaceChildren(element("h2", {}, data.same ? "One problem before and after training" : "Where the critic's critiques disagree most"),
      element("div", { class: "pair" }, ...await Promise.all(pair.map((one, number) => article(one, names[number])))));
  };

  const tokensOf = (line) => [...line.querySelectorAll(".text > span")];
  const told = (line, token) => {
    const { step, count: size, first, told: numbers, split } = line.dataset;
    const which = token && split === "1" ? `token ${Number(first) + tokensOf(line).indexOf(token)} “${token.textContent}”, step ${step}`
      : `step ${step}, ${size} ${size === "1" ? "token" : "tokens"}`;
    return `${which} · ${numbers}`;
  };
  const tell = (line, token) => {
    tip.hidden = false;
    tip.textContent = told(line, token);
    for (const critique of line.closest(".rollout").querySelectorAll(".critique")) {
      critique.classList.toggle("says", critique.dataset.flags.split(" ").includes(line.dataset.step));
    }
  };
  const lines = () => [...shown.querySelectorAll(".line")];
  const focusToken = (token) => {
    token.tabIndex = -1;
    token.setAttribute("role", "note");
    token.setAttribute("aria-label", told(token.closest(".line"), token));
    token.focus();
  };
  const nextToken = (line, token, by) => {
    const tokens = [...shown.querySelectorAll(".text > span")];
    const own = tokensOf(line);
    const next = token ? tokens[tokens.indexOf(token) + by] : own[by > 0 ? 0 : own.length - 1];
    if (next) focusToken(next);
  };
  const toggle = (line) => {
    const critiques = [...line.closest(".rollout").querySelectorAll("details.critique")];
    const some = critiques.some((one) => !one.open);
    for (const one of critiques) one.open = some;
  };
  const actions = {
    ArrowDown: (line) => lines()[lines().indexOf(line) + 1]?.focus(),
    ArrowUp: (line) => lines()[lines().indexOf(line) - 1]?.focus(),
    ArrowRight: (line, token) => nextToken(line, token, 1),
    ArrowLeft: (line, token) => nextToken(line, token, -1),
    Escape: (line) => line.focus(),
    Enter: toggle,
  };
  const spot = (target) => {
    const line = target instanceof Element ? target.closest(".line") : null;
    return line ? [line, target.closest(".text > span")] : null;
  };
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = spot(event.target);
    if (at && Object.hasOwn(actions, event.key)) {
      event.preventDefault();
      actions[event.key](...at);
    } else if (event.target === list && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      const next = found[Math.max(0, place() + (event.key === "ArrowDown" ? 1 : -1))];
      if (next) choose(next).then(() => { list.scrollTop = Math.max(0, place() * height - list.clientHeight / 2); });
    }
  });
  for (const kind of ["focusin", "pointerover", "pointerdown"]) {
    document.addEventListener(kind, (event) => {
      const at = spot(event.target);
      if (at) tell(...at);
    });
  }
  list.addEventListener("scroll", drawList);
  window.addEventListener("resize", drawList);
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
  open().finally(() => { document.documentElement.dataset.ready = "1"; });
})();
