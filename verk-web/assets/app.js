// Everything works without this script. It keeps figures current, shows times in the reader's
// zone, selects all rows of a table, and switches between dark and light.
"use strict";

const root = document.documentElement;

// Dark or light: the system's choice until the reader makes one.
const theme = {
  read() {
    try { return localStorage.getItem("verk-theme"); } catch { return null; }
  },
  write(value) {
    try { localStorage.setItem("verk-theme", value); } catch { /* Not kept. */ }
  },
};
if (theme.read()) root.dataset.theme = theme.read();
for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    theme.write(root.dataset.theme);
  });
}

// Times: the page has them in UTC, and the reader sees them in the zone of the browser.
const local = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const utc = (at) => at.toISOString().slice(0, 19);

function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]:not([data-shown])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.dataset.shown = "";
    const inUtc = `${utc(at).replace("T", " ")} UTC`;
    if (time.hasAttribute("data-local")) {
      time.textContent = local.format(at);
      time.title = inUtc;
    } else {
      time.title = `${local.format(at)} (${inUtc})`;
    }
  }
}

// The same texts as those of the page.
function duration(seconds) {
  const units = [["y", 31536000], ["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = seconds ? units.findIndex(([, size]) => seconds >= size) : 4;
  const [unit, size] = units[at];
  const [smaller, part] = units[at + 1] ?? ["", Infinity];
  const rest = Math.floor((seconds % size) / part);
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

function showAges(now) {
  for (const time of document.querySelectorAll("time[data-age][data-shown]")) {
    const past = now - new Date(time.dateTime);
    const by = duration(Math.floor(Math.abs(past) / 1000));
    const text = Math.abs(past) < 1000 ? "now" : past < 0 ? `in ${by}` : `${by} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
}

showTimes();
for (const zone of document.querySelectorAll("[data-zone]")) {
  zone.textContent = `Times in ${local.resolvedOptions().timeZone}`;
  zone.hidden = false;
}

// Fields of times are in that zone too; the form sends UTC.
for (const form of document.forms) {
  const fields = [...form.querySelectorAll("input[type=datetime-local]")];
  for (const field of fields) {
    const at = new Date(`${field.defaultValue}Z`);
    if (!Number.isNaN(at.getTime())) field.value = local.format(at).replace(" ", "T").replace(/:00$/, "");
    const zone = form.querySelector(`label[for="${field.id}"] [data-zone-name]`);
    if (zone) zone.textContent = "(your time)";
  }
  form.addEventListener("formdata", (event) => {
    for (const field of fields) {
      if (field.value) event.formData.set(field.name, utc(new Date(field.value)));
    }
  });
}

// A box that selects all rows, and a count of the selected ones.
for (const form of document.querySelectorAll("form[data-select]")) {
  const boxes = [...form.querySelectorAll("input[name=job]")];
  const all = form.querySelector("[data-select-all]");
  const shown = form.querySelector("[data-selected]");
  const update = () => {
    const count = boxes.filter((box) => box.checked).length;
    if (shown) shown.textContent = count ? `${count} selected` : "";
    if (all) {
      all.checked = count > 0 && count === boxes.length;
      all.indeterminate = count > 0 && count < boxes.length;
    }
  };
  if (all) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
      update();
    });
  }
  form.addEventListener("change", update);
  update();
}

// `/` goes to the search, as on many pages.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("main input[type=search]") || document.getElementById("find-jid");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});

// Live figures. Only texts change, in their places: no row moves under the pointer.
const state = document.querySelector("[data-live-state]");
const url = document.body.dataset.liveUrl;
let source;
let aged;

function show(text, on) {
  if (!state) return;
  state.hidden = false;
  state.classList.toggle("off", !on);
  const label = state.querySelector("[role=status]");
  if (label.textContent !== text) label.textContent = text;
}

function connect() {
  source = new EventSource(url);
  source.addEventListener("figures", (event) => {
    const figures = JSON.parse(event.data);
    show("live", true);
    showTimes();
    const now = new Date(figures.now);
    // Often enough for a reader, and seldom enough to stay calm.
    if (!(now - aged < 10000)) {
      showAges(now);
      aged = now;
    }
    for (const element of document.querySelectorAll("[data-live]")) {
      const text = figures[element.dataset.live];
      if (text !== undefined && element.textContent !== text) element.textContent = text;
    }
    for (const line of document.querySelectorAll("[data-live-points]")) {
      const points = figures[line.dataset.livePoints];
      if (points !== undefined) line.setAttribute("points", points);
    }
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) show("not live", false);
    else show("connecting", false);
  });
}

// A page in the background asks for nothing.
if (url && window.EventSource && !new URLSearchParams(location.search).has("still")) {
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (!document.hidden) connect();
  });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  if (!document.hidden) connect();
}
