/** Listings of containers: every name in a page's range, present or absent, is judged like a read. */
import type { ListedObject } from '#proxy/contract.ts';
import type { ListQuery } from '#rows/query.ts';
import type { SimNode } from './cluster.ts';
import { writeOf } from './content.ts';
import { type Floor, type KeyModel, Violation } from './model.ts';
import { type Box, containerOf, type Session } from './session.ts';

const WHOLE: ListQuery = { limit: 1_000 };

export class Listings {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** A whole page, or a part of one. */
  async list(node: SimNode, box: Box, whole = false): Promise<boolean> {
    const floors = new Map(box.keys.map((model) => [model, model.floor]));
    const query = whole || this.#session.random.chance(0.6) ? WHOLE : this.#partial(box);
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, containerOf(box), query),
    );
    this.#session.count('list', settled);
    if (settled.kind !== 'done') return false;
    const by = `list ${JSON.stringify(query)} via ${node.name} at ${this.#session.nowMs}`;
    const page = settled.result;
    if (page === undefined && box.churn === undefined) {
      throw new Violation('honest 404', `${by}: no container ${box.name}`);
    }
    if (page === undefined) {
      for (const model of box.keys) sawItem(model, undefined, floors.get(model)!, by);
      return true;
    }
    const items = page.items.filter((item): item is ListedObject => 'name' in item);
    checkOrder(items, query, by);
    const last = page.truncated ? items.at(-1)?.name : undefined;
    for (const model of box.keys) {
      if (!isInRange(model.name, query)) continue;
      if (page.truncated && (last === undefined || isBeyond(model.name, last, query))) continue;
      const item = items.find((known) => known.name === model.name);
      sawItem(model, item, floors.get(model)!, by);
    }
    return true;
  }

  #partial(box: Box): ListQuery {
    const { random } = this.#session;
    const name = (): string => `key${random.integer(box.keys.length)}`;
    return {
      limit: 1 + random.integer(3),
      ...(random.chance(0.5) && { marker: name() }),
      ...(random.chance(0.3) && { endMarker: name() }),
      ...(random.chance(0.2) && { prefix: random.chance(0.5) ? 'key' : name() }),
      ...(random.chance(0.3) && { reverse: true }),
    };
  }
}

function isInRange(name: string, { marker, endMarker, prefix, reverse = false }: ListQuery) {
  const isAfter = (mark: string): boolean => (reverse ? name < mark : name > mark);
  if (marker !== undefined && !isAfter(marker)) return false;
  if (endMarker !== undefined && (isAfter(endMarker) || name === endMarker)) return false;
  return prefix === undefined || name.startsWith(prefix);
}

function isBeyond(name: string, last: string, { reverse = false }: ListQuery): boolean {
  return reverse ? name < last : name > last;
}

function checkOrder(items: readonly ListedObject[], query: ListQuery, by: string): void {
  const names = items.map(({ name }) => name);
  const isWrong = names.some((name, i) => i > 0 && !isBeyond(name, names[i - 1]!, query));
  const isOutside = names.some((name) => !isInRange(name, query));
  if (!isWrong && !isOutside) return;
  throw new Violation('list after write', `${by}: out of order or range: ${names.join(' ')}`);
}

function sawItem(model: KeyModel, item: ListedObject | undefined, floor: Floor, by: string): void {
  try {
    if (item === undefined) {
      model.sawNothing(floor, by);
      return;
    }
    const write = writeOf(item.contentType);
    if (write === undefined) throw new Violation('one version', `${by}: ${item.contentType}`);
    model.sawRow({ write, etag: item.etag, size: item.bytes }, floor, by);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    throw new Violation(`list after write (${error.promise})`, error.message, model.key);
  }
}
