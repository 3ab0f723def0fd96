// What the station is made of: cameras, interfaces, software, disk. To be read; nothing here can be changed.
import { api, element } from "./api.js";
import { size } from "./storage.js";

const facts = (entries) => element("dl", { class: "facts" }, ...Object.entries(entries).map(([name, value]) =>
  element("div", {}, element("dt", { title: name }, name), element("dd", { title: value }, value))));

export function stationPanel() {
  const made = element("div", { class: "form-grid" }, element("p", { class: "muted" }, "Reading …"));
  const disk = element("div", { class: "panel" }, element("h2", {}, "Disk"), element("p", { class: "muted" }, "Counting …"));
  api("GET", "/settings/station").then((station) => made.replaceChildren(
    element("div", { class: "panel" }, element("h2", {}, "Station"), facts({ name: station.station, data: station.data_dir, records: station.database, schema: station.schema })),
    element("div", { class: "panel" }, element("h2", {}, "Storage"), element("storage-picture")), disk,
    ...station.cameras.map((camera) => element("div", { class: "panel" }, element("h2", {}, `Camera ${camera.name}`),
      facts({ serial: camera.serial, producer: camera.producer, "ring slots": camera.ring_slots }), element("h3", {}, "Features, in this order"), facts(camera.features))),
    ...station.interfaces.filter((each) => each.on).map((each) => element("div", { class: "panel" }, element("h2", {}, each.name), facts(each.facts))),
    element("div", { class: "panel" }, element("h2", {}, "Interfaces that are off"),
      element("p", { class: "muted" }, station.interfaces.filter((each) => !each.on).map((each) => each.name).join(", ") || "None.")),
    element("div", { class: "panel" }, element("h2", {}, "Software"), facts(station.software))),
  ).catch((error) => made.replaceChildren(element("p", { class: "panel problem" }, error.message)));
  api("GET", "/settings/storage").then(({ folders, free_bytes: free, disk_bytes: whole }) => disk.replaceChildren(
    element("h2", {}, "Disk"),
    facts({ free: `${size(free)} of ${size(whole)}`, ...Object.fromEntries(folders.map((each) => [each.name === "." ? "database" : each.name,
      `${each.complete ? "" : "more than "}${size(each.nbytes)} in ${each.files} ${each.files === 1 ? "file" : "files"}`])) })),
  ).catch((error) => disk.replaceChildren(element("h2", {}, "Disk"), element("p", { class: "problem" }, error.message)));
  return made;
}
