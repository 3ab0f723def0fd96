// Light or dark, map on or off: kept by the browser, applied before anything is painted.
const root = document.documentElement;
root.dataset.theme = localStorage.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
root.dataset.map = localStorage.map || "on";
root.style.setProperty("--map-opacity", localStorage.mapOpacity || "0.8");

document.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "theme") {
    localStorage.theme = root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  }
  if (action === "map") {
    localStorage.map = root.dataset.map = root.dataset.map === "on" ? "off" : "on";
  }
});

document.addEventListener("input", (event) => {
  if (event.target.dataset.action === "map-opacity") {
    localStorage.mapOpacity = event.target.value / 100;
    root.style.setProperty("--map-opacity", localStorage.mapOpacity);
    localStorage.map = root.dataset.map = "on";
  }
});
