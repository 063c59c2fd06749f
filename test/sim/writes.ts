/** Puts, deletions, metadata posts and copies; what each answer means for the key's model. */
import type { ObjectReader, PutRequest } from '#proxy/contract.ts';
import type { SimNode } from './cluster.ts';
import { bytesOf, type Content, makeContent, TAG, typeOf } from './content.ts';
import { type KeyModel, type Outcome, Violation } from './model.ts';
import type { Reads } from './reads.ts';
import { type Box, objectOf, type Session, type Settled } from './session.ts';

const CHUNK = 3_000;
const MAX_BYTES = 5 * 2 ** 30;

export interface WriteOptions {
  /** Largest body. */
  readonly largeBytes: number;
  /** Whether some versions expire. */
  readonly expires: boolean;
}

export class Writes {
  readonly #session: Session;
  readonly #reads: Reads;
  readonly #options: WriteOptions;

  constructor(session: Session, reads: Reads, options: WriteOptions) {
    this.#session = session;
    this.#reads = reads;
    this.#options = options;
  }

  put(node: SimNode, box: Box, model: KeyModel): Promise<Outcome> {
    const id = this.#session.newWriteId();
    return this.#putContent(node, box, model, makeContent(id, this.#size()));
  }

  /** A copy is what the API makes of it: a get, and a put of what it gives. */
  async copy(node: SimNode, box: Box, model: KeyModel): Promise<void> {
    const { random } = this.#session;
    const target = box.keys[random.integer(box.keys.length)]!;
    const found: ObjectReader | undefined | 'failed' = await this.#reads.open(node, box, model);
    if (found === undefined || found === 'failed') return;
    const bytes = await this.#reads.body(node, model, found, 0, found.length);
    if (bytes === undefined) return;
    const id = this.#session.newWriteId();
    await this.#putContent(node, box, target, makeContent(id, bytes.length));
  }

  async #putContent(node: SimNode, box: Box, model: KeyModel, content: Content): Promise<Outcome> {
    const session = this.#session;
    const isBad = session.random.chance(0.02);
    const deleteAt = this.#deleteAt();
    const request = this.#request(content, isBad, deleteAt);
    const write = session.begin(node, model, 'put', { id: content.write, content, deleteAt });
    const settled = await session.settle(
      node,
      ({ proxy }, operation) => proxy.putObject(operation, objectOf(box, model), request),
      write.txn,
    );
    if (settled.kind === 'failed' && isBad && settled.code === 'etag-mismatch')
      return session.end(write, 'none', settled);
    if (settled.kind !== 'done') return session.end(write, 'undecided', settled);
    const { kind, ack, etag, size } = settled.result;
    if (kind === 'no-container' && box.churn !== undefined)
      return session.end(write, 'undecided', settled);
    if (kind !== 'stored') throw model.broken('honest 404', `put ${content.write} is told ${kind}`);
    if (isBad || etag !== content.etag || size !== content.size) {
      const told = isBad ? 'stored, with a wrong etag' : 'another etag or size';
      throw new Violation(
        'one version',
        `put ${content.write} is told ${told}: ${etag} ${size}, and sent ${content.etag} ${content.size}`,
        model.key,
      );
    }
    return session.end(write, ack === undefined ? 'full' : 'partial', settled);
  }

  #request(content: Content, isBad: boolean, deleteAt: number | undefined): PutRequest {
    const { random } = this.#session;
    const { write, size, etag } = content;
    const isChunked = random.chance(0.3);
    return {
      body: this.#body(content, random.chance(0.2)),
      length: isChunked ? undefined : size,
      maxLength: MAX_BYTES,
      contentType: typeOf(write),
      user: { [TAG]: String(write) },
      system: {},
      ...(deleteAt !== undefined && { deleteAt }),
      ...(isBad ? { expectedEtag: '0'.repeat(32) } : random.chance(0.3) && { expectedEtag: etag }),
    };
  }

  async *#body({ write, size }: Content, isSlow: boolean): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += CHUNK) {
      if (isSlow) await this.#session.sleep(this.#session.random.delay(20));
      yield bytesOf(write, at, Math.min(size, at + CHUNK));
    }
  }

  #size(): number {
    const { random } = this.#session;
    const dice = random.float();
    if (dice < 0.1) return 0;
    if (dice < 0.5) return 1 + random.integer(1_000);
    if (dice < 0.8) return 1_000 + random.integer(7_000);
    return 8_000 + random.integer(this.#options.largeBytes);
  }

  /** In the true time of the run: nodes whose clocks are off see it earlier or later. */
  #deleteAt(): number | undefined {
    const { random, cluster } = this.#session;
    if (!this.#options.expires || !random.chance(0.25)) return undefined;
    return Math.floor(cluster.trueMs / 1000) + 2 + random.integer(40);
  }

  async delete(node: SimNode, box: Box, model: KeyModel): Promise<Outcome> {
    const session = this.#session;
    const id = session.newWriteId();
    const write = session.begin(node, model, 'delete', {
      id,
      content: undefined,
      deleteAt: undefined,
    });
    const settled = await session.settle(
      node,
      ({ proxy }, operation) => proxy.deleteObject(operation, objectOf(box, model)),
      write.txn,
    );
    if (settled.kind !== 'done') return session.end(write, 'undecided', settled);
    const by = `delete ${id} via ${node.name}`;
    if (settled.result === 'no-container') {
      if (box.churn === undefined) throw model.broken('honest 404', `${by}: no container`);
      model.sawNothing(write.floor, `${by} (no container)`, write.record);
      return session.end(write, 'none', settled);
    }
    // Where stand-ins may have taken it, nobody may know what was there.
    if (settled.result === 'deleted' && box.mode === 'strict')
      model.sawSomething(write.floor, by, write.record);
    if (settled.result === 'not-found') model.sawNothing(write.floor, by, write.record);
    return session.end(write, acknowledged(box), settled);
  }

  async post(node: SimNode, box: Box, model: KeyModel): Promise<void> {
    const session = this.#session;
    const id = session.newWriteId();
    const deleteAt = this.#deleteAt();
    const write = session.begin(node, model, 'post', { id, content: undefined, deleteAt });
    const change = { user: { [TAG]: String(id) }, system: {}, deleteAt: deleteAt ?? null };
    const settled: Settled<string> = await session.settle(
      node,
      ({ proxy }, operation) => proxy.updateObject(operation, objectOf(box, model), change),
      write.txn,
    );
    const by = `post ${id} via ${node.name}`;
    if (settled.kind !== 'done') {
      session.end(write, 'undecided', settled);
    } else if (settled.result === 'not-found') {
      // First its end: the expiry that it sets itself is no excuse.
      session.end(write, 'none', settled);
      model.sawNothing(write.floor, by);
    } else {
      model.sawSomething(write.floor, by);
      session.end(write, acknowledged(box), settled);
    }
  }
}

/** Of deletions and posts, whose answers don't tell how far they came: full only where nothing else is. */
function acknowledged({ mode }: Box): Outcome {
  return mode === 'strict' ? 'full' : 'partial';
}
