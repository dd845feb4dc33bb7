"use strict";
(() => {
  const WORDS = {
    en: {
      hq: "headquarters", key: "Operator key", show: "Show", other: "中文", stores: "Stores and budgets",
      unit: "Epsilon per customer of a store (add or remove one), this quarter and year.",
      runs: "Runs", releases: "Releases", jobs: "Jobs", none: "nothing yet", store: "store", lang: "language",
      customers: "customers (public)", quarter: "quarter", year: "year", run: "run", state: "state",
      rounds: "rounds", cost: "ε of the run", made: "made", release: "release", stage: "stage", gates: "gates", job: "job",
      subject: "about", error: "error", passed: "passed", closed_gate: "closed", asof: "as of",
      lost: "headquarters does not answer", wrong: "key missing or wrong",
      running: "running", planned: "planned", reserved: "reserved", dispatched: "dispatched",
      closed: "closed", failed: "failed", cancelled: "cancelled", refused: "refused", queued: "queued",
      done: "done", interrupted: "interrupted", registered: "registered", staged: "staged", warm: "warm",
      canary: "canary", stable: "stable", retired: "retired", rolled_back: "rolled back",
      rejected: "rejected", build: "build", push: "push",
    },
    zh: {
      hq: "总部", key: "操作员密钥", show: "查看", other: "English", stores: "门店与预算",
      unit: "每家门店每位顾客的 ε（增加或移除一位），本季度与本年度。",
      runs: "训练运行", releases: "发布版本", jobs: "任务", none: "暂无", store: "门店", lang: "语言",
      customers: "顾客数（公开）", quarter: "季度", year: "年度", run: "运行", state: "状态",
      rounds: "轮次", cost: "本次运行的 ε", made: "创建时间", release: "版本", stage: "阶段", gates: "关卡", job: "任务",
      subject: "对象", error: "错误", passed: "通过", closed_gate: "未通过", asof: "更新于",
      lost: "总部没有响应", wrong: "密钥缺失或不正确",
      running: "进行中", planned: "已计划", reserved: "已预留", dispatched: "已下发",
      closed: "已完成", failed: "失败", cancelled: "已取消", refused: "被拒绝", queued: "排队中",
      done: "完成", interrupted: "中断", registered: "已登记", staged: "已装载", warm: "已预热",
      canary: "灰度", stable: "稳定", retired: "已退役", rolled_back: "已回滚",
      rejected: "已拒绝", build: "构建", push: "推送",
    },
  };
  const BAD = new Set(["failed", "refused", "interrupted", "rolled_back", "rejected"]);
  const GOOD = new Set(["closed", "done", "stable"]);
  const at = (id) => document.getElementById(id);
  let lang = (navigator.language || "en").startsWith("zh") ? "zh" : "en";
  let key = sessionStorage.getItem("key") || "";
  let last = null;
  const word = (name) => WORDS[lang][name] ?? name;

  const cell = (tag, value) => {
    const made = document.createElement(tag);
    if (value instanceof Node) made.append(value); else made.textContent = value ?? "";
    return made;
  };
  const stateOf = (name) => {
    const made = cell("span", word(name));
    made.className = BAD.has(name) ? "bad" : GOOD.has(name) ? "good" : "";
    return made;
  };
  const spent = (used, cap) => {
    const made = document.createElement("span");
    const meter = document.createElement("meter");
    Object.assign(meter, { max: cap, high: 0.9 * cap, value: used });
    made.append(meter, ` ${used.toFixed(2)} / ${cap.toFixed(2)}`);
    return made;
  };
  const time = (text) => new Date(text).toLocaleString(lang);
  const table = (id, heads, rows) => {
    if (!rows.length) { at(id).replaceChildren(cell("p", word("none"))); return; }
    const made = document.createElement("table");
    const head = document.createElement("tr");
    head.append(...heads.map((name) => cell("th", word(name))));
    made.append(head);
    for (const row of rows) {
      const line = document.createElement("tr");
      line.append(...row.map((value) => cell("td", value)));
      made.append(line);
    }
    at(id).replaceChildren(made);
  };

  const draw = () => {
    document.documentElement.lang = lang;
    for (const node of document.querySelectorAll("[data-t]")) node.textContent = word(node.dataset.t);
    at("switch").textContent = word("other");
    if (!last) return;
    const budgets = Object.fromEntries(last.budget.map((row) => [row.store_id, row]));
    table("stores", ["store", "lang", "customers", "quarter", "year"], last.stores.map((s) => {
      const b = budgets[s.store_id];
      return [`${s.store_id} · ${s.name}`, s.lang, s.public_customers,
        b ? spent(b.quarter_spent, b.quarter_cap) : "", b ? spent(b.year_spent, b.year_cap) : ""];
    }));
    table("runs", ["run", "state", "rounds", "cost", "made"], last.runs.map((r) => [
      r.run_id, stateOf(r.state), Object.entries(r.states).map(([n, s]) => `${n} ${word(s)}`).join(", "),
      Object.entries(r.stores).map(([name, e]) => `${name} ε ${e.toFixed(2)}`).join(", "), time(r.created)]));
    table("releases", ["release", "stage", "gates", "run", "made"], last.releases.map((r) => [
      r.release_id, stateOf(r.stage), word(r.gates_passed ? "passed" : "closed_gate"), r.run_id, time(r.created)]));
    table("jobs", ["job", "subject", "state", "error", "made"], last.jobs.slice(0, 20).map((j) => [
      word(j.kind), j.subject, stateOf(j.state), j.error.message ?? "", time(j.created)]));
  };

  const ask = async (path) => {
    const answer = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {} });
    if (answer.status === 401) throw new Error("wrong");
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error?.message || String(answer.status));
    return body;
  };
  const refresh = async () => {
    try {
      const parts = await Promise.all(["stores", "budget", "runs", "releases", "jobs"].map((p) => ask(`/v1/${p}`)));
      last = Object.assign({}, ...parts);
      at("login").hidden = true; at("main").hidden = false;
      at("state").className = "";
      at("state").textContent = `${word("asof")} ${new Date().toLocaleTimeString(lang)}`;
      draw();
    } catch (error) {
      const wrong = error.message === "wrong";
      at("login").hidden = !wrong;
      if (wrong) at("main").hidden = true;
      at("state").className = wrong && !key ? "" : "bad";
      at("state").textContent = wrong ? word("wrong") : error instanceof TypeError ? word("lost") : error.message;
    }
  };
  at("switch").addEventListener("click", () => { lang = lang === "zh" ? "en" : "zh"; draw(); });
  at("login").addEventListener("submit", (event) => {
    event.preventDefault();
    key = at("key").value; sessionStorage.setItem("key", key); refresh();
  });
  draw(); refresh(); setInterval(refresh, 5000);
})();
