// The parts that a reviewer goes through: pages of GET /review, pictures loaded ahead, labels sent behind.
//
// Events: `moved` (another part, or the same one anew, is to be shown), `progress` (counts or labels changed).
import { api, say } from "./api.js";
import { loadPicture } from "./viewer.js";

const PAGE = 20;
const AHEAD = 3;
const KEPT = 3;
const MAP_SIDE = 640;
// Images follow the verdict: a part decided so recently is asked for again until they are there.
const STORING_MS = 10_000;
const STORED_YET_MS = 500;

export const imageOf = (inspection, kind) => inspection.images.find((image) => image.kind === kind && !image.deleted_at);

const bare = ({ x, y, width, height, polygon }) => ({ x, y, width, height, polygon });

// Frame and map, decoded, as PartViewer.show takes them.
export async function loadPictures(inspection) {
  const address = `/api/v1/inspections/${inspection.seq}`;
  const [frame, map] = [imageOf(inspection, "frame"), imageOf(inspection, "map")];
  const pictures = await Promise.all([
    loadPicture(frame && `${address}/image?render=png8`, `Frame of part ${inspection.serial}`),
    loadPicture(frame && map && `${address}/map?longest=${MAP_SIDE}`, "Anomaly map"),
  ]);
  return {
    frame: pictures[0],
    map: pictures[1],
    width: frame?.width ?? 1,
    height: frame?.height ?? 1,
    regions: inspection.regions,
  };
}

export class ReviewQueue extends EventTarget {
  constructor() {
    super();
    this.reset();
  }

  reset() {
    this.stop?.abort();
    this.stop = new AbortController();
    this.items = [];
    this.index = 0;
    this.done = [];
    this.cursor = null;
    this.more = true;
    this.beyond = { count: 0, capped: false };
    this.problem = null;
    this.fetching = null;
  }

  // From the first part of what `query` asks for on; `seq` is shown before all others.
  async start(query, seq = null) {
    this.reset();
    this.query = query;
    this.tell("moved");
    const { signal } = this.stop;
    if (seq !== null) {
      const part = await this.ask(`/review/${seq}`, {});
      if (signal.aborted) return;
      if (part) this.take(part.item);
    }
    await this.fetchMore();
    if (!signal.aborted) this.moved();
  }

  async ask(path, query) {
    const { signal } = this.stop;
    try {
      const answer = await api("GET", path, { query, signal });
      this.you = answer.you;
      return answer;
    } catch (error) {
      if (signal.aborted) return null;
      this.problem = error.message;
      say(error.message, "problem");
      return null;
    }
  }

  // Pages may be short or empty where a filter matches little: on until enough are here.
  async fetchMore() {
    if (this.fetching || !this.more) return this.fetching;
    const { signal } = this.stop;
    this.fetching = (async () => {
      do {
        const page = await this.ask("/review", { ...this.query, cursor: this.cursor, limit: PAGE });
        if (signal.aborted || !page) return;
        this.problem = null;
        for (const item of page.items) this.take(item);
        this.cursor = page.next_cursor;
        this.more = this.cursor !== null;
        this.beyond = { count: Math.max(0, page.left - page.items.length), capped: page.left_is_capped };
        if (this.index >= this.items.length - page.items.length) this.moved();
      } while (this.more && this.items.length - this.index <= AHEAD);
    })();
    try {
      await this.fetching;
    } finally {
      if (!signal.aborted) this.fetching = null;
    }
    this.tell("progress");
    return null;
  }

  take(item) {
    const known = this.items.some((each) => each.inspection.seq === item.inspection.seq);
    if (!known) this.items.push({ ...item, seq: item.inspection.seq, regions: null, decision: null, pictures: null, ready: null });
  }

  get current() {
    return this.items[this.index] ?? null;
  }

  // Parts that are left, this one included; `capped` where there may be more.
  get left() {
    return { count: this.items.length - this.index + this.beyond.count, capped: this.beyond.capped && this.more };
  }

  // Of those decided that the machine passed or failed: how many it judged alike.
  get agreement() {
    const judged = this.done.filter(({ item }) => ["pass", "fail"].includes(item.inspection.verdict));
    return { agreed: judged.filter(({ item, label }) => (label === "ok") === (item.inspection.verdict === "pass")).length, judged: judged.length };
  }

  moved() {
    this.preload();
    this.tell("moved");
    if (this.items.length - this.index <= 2 * AHEAD) this.fetchMore();
  }

  tell(what) {
    this.dispatchEvent(new Event(what));
  }

  // The pictures of this part and of those that come next; those far behind are let go.
  preload() {
    this.items.forEach((item, place) => {
      if (place < this.index - KEPT) item.pictures = item.ready = null;
    });
    for (const item of this.items.slice(this.index, this.index + AHEAD + 1)) this.pictures(item);
  }

  pictures(item) {
    item.pictures ??= this.stored(item)
      .then(() => loadPictures(item.inspection))
      .then((pictures) => (item.ready = pictures));
    return item.pictures;
  }

  async stored(item) {
    const { signal } = this.stop;
    while (!imageOf(item.inspection, "frame") && Date.now() - Date.parse(item.inspection.decided_at) < STORING_MS) {
      await new Promise((resolve) => setTimeout(resolve, STORED_YET_MS));
      const part = signal.aborted ? null : await this.ask(`/review/${item.seq}`, {});
      if (!part) return;
      item.inspection = part.item.inspection;
    }
  }

  skip() {
    if (this.index >= this.items.length) return;
    this.index++;
    this.moved();
  }

  previous() {
    if (this.index === 0) return;
    this.index--;
    this.moved();
  }

  // The next part is shown at once; the label is sent behind, and the part comes back if that fails.
  decide(label, regions, reason = "") {
    const item = this.current;
    if (!item) return;
    const after = item.labels[0]?.label_id ?? 0;
    const decision = { item, label };
    item.decision = label;
    item.regions = regions;
    this.done.push(decision);
    decision.sent = this.send(item, { label, regions: label === "ok" ? [] : regions.map(bare), reason, after }).catch((error) => {
      this.done = this.done.filter((each) => each !== decision);
      decision.failed = true;
      item.decision = null;
      this.bringBack(item, error);
    });
    this.index++;
    this.moved();
    this.tell("progress");
  }

  async send(item, body) {
    const given = await api("POST", `/inspections/${item.seq}/labels`, { body });
    item.labels = [given, ...item.labels];
    item.standing = [...item.standing.filter((each) => each.labelled_by !== given.labelled_by), given].filter((each) => each.label);
    this.tell("progress");
    return given;
  }

  // After the part that is on the screen now: what changes under a finger gets the wrong label.
  async bringBack(item, error) {
    if (error.code === "stale_label") await this.refresh(item);
    const place = this.items.indexOf(item);
    if (place < 0) return;
    item.returned = error.message;
    if (place < this.index) {
      this.items.splice(place, 1);
      this.index--;
      this.items.splice(Math.min(this.index + (this.current ? 1 : 0), this.items.length), 0, item);
    }
    this.moved();
    say(`${item.inspection.serial} was not labelled and comes back: ${error.message}`, "problem");
  }

  async refresh(item) {
    const part = await this.ask(`/review/${item.seq}`, {});
    if (part) Object.assign(item, { labels: part.item.labels, standing: part.item.standing, conflicting: part.item.conflicting });
  }

  // Takes the newest decision of this visit back and shows its part.
  async undo() {
    const decision = this.done.at(-1);
    if (!decision || decision.undoing) return;
    decision.undoing = true;
    const { item } = decision;
    await decision.sent;
    if (decision.failed) return;
    try {
      await this.send(item, { label: null, regions: [], after: item.labels[0].label_id });
    } catch (error) {
      decision.undoing = false;
      say(`The label of ${item.inspection.serial} was not taken back: ${error.message}`, "problem");
      return;
    }
    this.done = this.done.filter((each) => each !== decision);
    item.decision = null;
    const place = this.items.indexOf(item);
    if (place >= 0) this.index = place;
    say(`The label of ${item.inspection.serial} was taken back.`);
    this.moved();
    this.tell("progress");
  }
}
