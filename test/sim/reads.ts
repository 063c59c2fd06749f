/** Gets, ranges and heads: what they tell is judged by the key's model, and every byte is recomputed. */
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader, Operation, Store } from '#proxy/contract.ts';
import { manifestKind, openManifest } from '#proxy/manifest.ts';
import type { SimNode } from './cluster.ts';
import { bytesOf, TAG, writeOf } from './content.ts';
import { type Floor, type KeyModel, Violation } from './model.ts';
import { type Box, objectOf, type Session } from './session.ts';

export class Reads {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async get(
    node: SimNode,
    box: Box,
    model: KeyModel,
    read: Operation['read'] = this.#session.random.chance(0.1) ? 'newest' : 'quorum',
  ): Promise<boolean> {
    const { random } = this.#session;
    const reader = await this.open(node, box, model, read);
    if (reader === 'failed') return false;
    if (reader === undefined) return true;
    const { length } = reader;
    let [start, end] = [0, length];
    if (length > 1 && random.chance(0.4)) {
      start = random.integer(length);
      end = start + 1 + random.integer(length - start);
    }
    return (await this.body(node, model, reader, start, end)) !== undefined;
  }

  /** Undefined: honestly not there. */
  async open(
    node: SimNode,
    box: Box,
    model: KeyModel,
    read: Operation['read'] = 'quorum',
  ): Promise<ObjectReader | undefined | 'failed'> {
    const { floor } = model;
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      openWhole(proxy, { ...operation, read }, objectOf(box, model)),
    );
    this.#session.count('get', settled);
    if (settled.kind !== 'done') return 'failed';
    const by = `get via ${node.name} at ${this.#session.nowMs}`;
    const reader = settled.result;
    if (reader === undefined) model.sawNothing(floor, by);
    else this.#sawState(model, reader.state, floorFor(reader, model, floor), by);
    return reader;
  }

  /** Undefined: broke off, as it may. @throws Violation when a byte is wrong */
  async body(
    node: SimNode,
    model: KeyModel,
    reader: ObjectReader,
    start: number,
    end: number,
  ): Promise<Buffer | undefined> {
    const write = writeOf(reader.state.data!.contentType)!;
    const settled = await this.#session.settle(node, async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of reader.read(start, end)) chunks.push(chunk);
      return Buffer.concat(chunks);
    });
    this.#session.count('body', settled);
    if (settled.kind !== 'done') return undefined;
    if (settled.result.equals(bytesOf(write, start, end))) return settled.result;
    const facts = `bytes ${start}-${end} of put ${write}, ${settled.result.length} arrived`;
    throw new Violation('one version', `get via ${node.name}: wrong ${facts}`, model.key);
  }

  async head(node: SimNode, box: Box, model: KeyModel): Promise<boolean> {
    const { floor } = model;
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.statObject(operation, objectOf(box, model)),
    );
    this.#session.count('head', settled);
    if (settled.kind !== 'done') return false;
    const by = `head via ${node.name} at ${this.#session.nowMs}`;
    const { result } = settled;
    if (result === undefined) model.sawNothing(floor, by);
    else this.#sawState(model, result, floorFor(result, model, floor), by);
    return true;
  }

  #sawState(model: KeyModel, state: ObjectReader['state'], floor: Floor, by: string): void {
    const { data, groups } = state;
    const write = writeOf(data?.contentType ?? '');
    if (data === undefined || write === undefined) {
      throw new Violation('one version', `${by}: ${data?.contentType} is no write's`, model.key);
    }
    const { timestamp, etag, size } = data;
    const user = groups['user'];
    const seen = { write, timestamp, etag, size };
    model.sawLive({ ...seen, tag: user?.values[TAG], tagTimestamp: user?.timestamp }, floor, by);
  }
}

/** What a manifest stands for, as every dialect gives it. */
async function openWhole(
  store: Store,
  operation: Operation,
  name: ObjectName,
): Promise<ObjectReader | undefined> {
  const reader = await store.openObject(operation, name);
  if (reader === undefined || manifestKind(reader.state) === undefined) return reader;
  const { length, read } = await openManifest(store, operation, name, reader);
  const { state, degraded } = reader;
  return { state, degraded, length, read };
}

/** The best version found may be an older one (promise 4). */
function floorFor(
  { degraded }: { readonly degraded?: boolean },
  model: KeyModel,
  floor: Floor,
): Floor {
  return degraded ? model.noFloor : floor;
}
