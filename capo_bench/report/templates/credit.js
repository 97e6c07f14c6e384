"use strict";
// What the page shows is in its HTML. This adds the way from token to token, and the line that tells of one.
(() => {
  const tip = document.getElementById("tip");
  const lines = [...document.querySelectorAll(".line")];
  const tokensOf = (line) => [...line.querySelectorAll(".text > span")];

  const told = (line, token) => {
    const { step, judged, reward, advantage, count, first } = line.dataset;
    const tokens = tokensOf(line);
    const one = token && line.dataset.split === "1";
    const which = one
      ? `token ${Number(first) + tokens.indexOf(token)} “${token.textContent}”, step ${step}`
      : `step ${step}, ${count} ${count === "1" ? "token" : "tokens"}`;
    return `${which} · ${judged} · reward ${reward} · advantage ${advantage}`;
  };

  const tell = (line, token) => {
    const text = told(line, token);
    tip.hidden = false;
    tip.textContent = text;
    for (const critique of line.closest(".rollout").querySelectorAll(".critique")) {
      critique.classList.toggle("says", critique.dataset.flags.split(" ").includes(line.dataset.step));
    }
    return text;
  };

  const go = (token) => {
    token.tabIndex = -1;
    token.setAttribute("role", "note");
    token.setAttribute("aria-label", told(token.closest(".line"), token));
    token.focus();
  };

  const fromToken = (line, token, by) => {
    const tokens = tokensOf(line);
    const next = token ? tokens[tokens.indexOf(token) + by] : tokens[by > 0 ? 0 : tokens.length - 1];
    if (next) {
      go(next);
      return;
    }
    const beyond = lines[lines.indexOf(line) + by];
    const there = beyond ? tokensOf(beyond) : [];
    if (there.length) go(there[by > 0 ? 0 : there.length - 1]);
    else if (beyond) beyond.focus();
  };

  const toggle = (line) => {
    const critiques = [...line.closest(".rollout").querySelectorAll("details.critique")];
    const open = critiques.some((one) => !one.open);
    for (const one of critiques) one.open = open;
  };

  const actions = {
    ArrowDown: (line) => lines[lines.indexOf(line) + 1]?.focus(),
    ArrowUp: (line) => lines[lines.indexOf(line) - 1]?.focus(),
    ArrowRight: (line, token) => fromToken(line, token, 1),
    ArrowLeft: (line, token) => fromToken(line, token, -1),
    Escape: (line) => line.focus(),
    Enter: toggle,
  };

  const place = (target) => {
    const line = target instanceof Element ? target.closest(".line") : null;
    return line ? [line, target.closest(".text > span")] : null;
  };

  document.addEventListener("keydown", (event) => {
    const found = place(event.target);
    if (!found || !Object.hasOwn(actions, event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key](...found);
  });
  document.addEventListener("focusin", (event) => {
    const found = place(event.target);
    if (found) tell(...found);
  });
  // A page that scrolls under a pointer at rest also sends events: the keyboard's place stays.
  let pointer = "";
  document.addEventListener("mousemove", (event) => {
    const now = `${event.screenX},${event.screenY}`;
    const found = now === pointer ? null : place(event.target);
    pointer = now;
    if (found) tell(...found);
  });
})();
