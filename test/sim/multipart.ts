/**
 * Clients that upload objects in parts, through any proxy at each step, while sweeps run on all nodes at
 * once. What an upload makes is a write of its key like any other: the key's model checks it, and every
 * byte of it. At rest nothing is kept for uploads but the parts of objects that are there.
 */
import { createHash } from 'node:crypto';
import type { Prng } from '#env/sim/prng.ts';
import type { Operation } from '#proxy/contract.ts';
import { openManifest } from '#proxy/manifest.ts';
import { COMPLETIONS, PARTS, parseUploadName, partsContainer } from '#proxy/multipart/names.ts';
import { Sweeper } from '#proxy/multipart/sweeper.ts';
import { type Upload, Uploads } from '#proxy/multipart/uploads.ts';
import type { Process, SimCluster, SimNode } from './cluster.ts';
import { bytesOf, type Content, TAG, typeOf } from './content.ts';
import { type KeyModel, Violation } from './model.ts';
import { type Box, containerOf, objectOf, type Session, type Settled } from './session.ts';
import type { Workload } from './workload.ts';

const MAX_PARTS = 3;
/** Below and above what is kept inline. */
const MAX_PART_BYTES = 12_000;
const ATTEMPTS = 3;
const SWEEP_MS = 3_000;
const ALL = { limit: 10_000 };
/** Every node may sweep: more than the lease ever lets, and it must be right all the same. */
const ANYBODY: ConstructorParameters<typeof Sweeper>[0]['state'] = {
  txn: async () => ({ succeeded: true, revision: 1, results: [] }),
  grantLease: async () => 'lease',
  keepAlive: async () => true,
};

/** An object as it is to become. */
interface Plan {
  readonly box: Box;
  readonly model: KeyModel;
  readonly content: Content;
  /** Where each part ends. */
  readonly ends: readonly number[];
  /** Numbers of which a wrong attempt has had no answer: it may show itself at any time. */
  readonly unsure: Set<number>;
}

export class Multipart {
  readonly #cluster: SimCluster;
  readonly #session: Session;
  readonly #random: Prng;
  /** Uploads need conditional writes, and a container that stays. */
  readonly #boxes: readonly Box[];
  readonly #sweepers = new WeakMap<Process, Sweeper>();

  constructor(cluster: SimCluster, workload: Workload, random: Prng) {
    this.#cluster = cluster;
    this.#session = workload.session;
    this.#random = random;
    this.#boxes = workload.boxes.filter(({ mode, churn }) => mode === 'strict' && !churn);
    // Of a download whose object was overwritten meanwhile.
    this.#session.expected.add('manifest-part');
  }

  async client(isOver: () => boolean, thinkMs: number): Promise<void> {
    while (!isOver() && this.#boxes.length > 0) {
      await this.#session.sleep(this.#random.delay(thinkMs));
      if (!isOver()) await this.#upload(this.#draw());
    }
  }

  async sweeps(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#session.sleep(this.#random.delay(SWEEP_MS));
      await this.#sweep(this.#anyNode());
    }
  }

  #draw(): Plan {
    const box = this.#boxes[this.#random.integer(this.#boxes.length)]!;
    const model = box.keys[this.#random.integer(box.keys.length)]!;
    const ends: number[] = [];
    const parts = 1 + this.#random.integer(MAX_PARTS);
    for (let i = 0; i < parts; i++) {
      ends.push((ends.at(-1) ?? 0) + 1 + this.#random.integer(MAX_PART_BYTES));
    }
    const write = this.#session.newWriteId();
    return {
      box,
      model,
      ends,
      unsure: new Set(),
      content: { write, size: ends.at(-1)!, etag: `whole-${write}` },
    };
  }

  #anyNode(): SimNode {
    const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
    return up[this.#random.integer(Math.max(1, up.length))] ?? this.#cluster.nodes[0]!;
  }

  async #upload(plan: Plan): Promise<void> {
    const begun = await this.#do('upload-begin', (uploads, operation) =>
      uploads.begin(operation, containerOf(plan.box), recordOf(plan)),
    );
    if (begun.kind !== 'done') return;
    const upload = begun.result;
    for (let number = 1; number <= plan.ends.length; number++) {
      // One that is sent again is what counts.
      if (this.#random.chance(0.1)) await this.#part(plan, upload, number, true);
      if (await this.#part(plan, upload, number)) continue;
      await this.#abort(plan, upload);
      return;
    }
    if (this.#random.chance(0.15)) await this.#abort(plan, upload);
    else await this.#complete(plan, upload);
  }

  async #part(plan: Plan, upload: Upload, number: number, isWrong = false): Promise<boolean> {
    const bytes = partOf(plan, number, isWrong);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const body = { body: once(bytes), length: bytes.length, maxLength: bytes.length };
      const settled = await this.#do('upload-part', async (uploads, operation) => {
        const slot = await uploads.slot(operation, upload, number);
        return await uploads.putPart(operation, upload, slot, body, () => ({}));
      });
      if (settled.kind === 'done') return true;
      if (isWrong) plan.unsure.add(number);
    }
    return false;
  }

  /** Sent again where there was no answer; what came of it then, only reads can tell. */
  async #complete(plan: Plan, upload: Upload): Promise<void> {
    const { model, content } = plan;
    const node = this.#anyNode();
    const facts = { id: content.write, content, deleteAt: undefined };
    const write = this.#session.begin(node, model, 'put', facts);
    const isRace = this.#random.chance(0.1);
    const [first, aborted] = await Promise.all([
      this.#do(
        'upload-complete',
        (uploads, operation) => this.#completed(uploads, operation, plan, upload, isRace),
        node,
        write.txn,
      ),
      isRace ? this.#abort(plan, upload) : undefined,
    ]);
    if (isRace && first.kind === 'done' && first.result === 'over') {
      if (aborted === 'completed') throw model.broken('undecided', 'neither completed nor aborted');
      this.#session.end(write, 'none', first);
      return;
    }
    if (first.kind === 'done') {
      if (aborted === 'aborted') throw model.broken('undecided', 'both completed and aborted');
      if (first.result !== 'stored') throw model.broken('undecided', `complete: ${first.result}`);
      this.#session.end(write, 'full', first);
      return;
    }
    if (this.#random.chance(0.5)) {
      await this.#do('upload-complete', (uploads, operation) =>
        this.#completed(uploads, operation, plan, upload),
      );
    }
    this.#session.end(write, 'undecided', first);
    if (this.#random.chance(0.5)) await this.#abort(plan, upload);
  }

  /** As CompleteMultipartUpload does it. */
  async #completed(
    uploads: Uploads,
    operation: Operation,
    plan: Plan,
    upload: Upload,
    mayBeAborted = false,
  ): Promise<string> {
    const { bucket, uploadId, record } = upload;
    if ((await uploads.find(operation, bucket, record.key, uploadId)) === undefined) return 'over';
    const attempts = await uploads.attempts(operation, upload);
    if (mayBeAborted && attempts.length < plan.ends.length) return 'over';
    const parts = plan.ends.map((_, i) => {
      const ofNumber = attempts.filter(({ number }) => number === i + 1);
      const wanted = md5(partOf(plan, i + 1));
      const found = ofNumber.find(({ etag }) => etag === wanted);
      const isShown = found === ofNumber[0] || plan.unsure.has(i + 1);
      if (found !== undefined && isShown) return found;
      const etags = ofNumber.map(({ etag }) => etag).join();
      const told = `part ${i + 1} of put ${plan.content.write}: ${etags} instead of ${wanted}`;
      throw new Violation('list after write', told, plan.model.key);
    });
    const { etag } = plan.content;
    return (await uploads.complete(operation, upload, { parts, etag, checksums: {} })).kind;
  }

  async #abort(
    { model }: Pick<Plan, 'model'>,
    upload: Upload,
  ): Promise<'aborted' | 'completed' | 'over' | undefined> {
    const { floor } = model;
    const settled = await this.#do('upload-abort', (uploads, operation) =>
      uploads.abort(operation, upload),
    );
    if (settled.kind !== 'done') return undefined;
    if (settled.result === 'completed') model.sawSomething(floor, 'an upload that is complete');
    return settled.result;
  }

  async #sweep(node: SimNode): Promise<boolean> {
    const { process } = node;
    if (process === undefined) return false;
    const { env } = node.machine;
    const options = { env, store: process.proxy, state: ANYBODY, name: node.name };
    const sweeper = this.#sweepers.get(process) ?? new Sweeper(options);
    this.#sweepers.set(process, sweeper);
    for (;;) {
      const settled = await this.#session.settle(node, (_, { signal }) => sweeper.step(signal));
      if (settled.kind !== 'done') return false;
      if (settled.result.kind !== 'more') return true;
    }
  }

  async #do<Result>(
    what: string,
    work: (uploads: Uploads, operation: Operation) => Promise<Result>,
    node = this.#anyNode(),
    txn?: string,
  ): Promise<Settled<Result>> {
    const { env } = node.machine;
    const settled = await this.#session.settle(
      node,
      ({ proxy }, operation) => work(new Uploads(proxy, env), operation),
      txn,
    );
    this.#session.count(what, settled);
    return settled;
  }

  /**
   * Once all uploads are over and swept: what is kept, and no object is made of; undefined: nothing. Nobody can tell what
   * an orphan is made of.
   */
  async leftovers(orphans: ReadonlySet<string>): Promise<string | undefined> {
    const boxes = this.#boxes.filter(({ keys }) => !keys.some(({ key }) => orphans.has(key)));
    for (const box of boxes) {
      for (const { name } of (await this.#kept(box)) ?? []) {
        const found = parseUploadName(name);
        const model = box.keys.find((known) => known.name === found?.key);
        if (found === undefined || model === undefined) continue;
        const upload = { bucket: containerOf(box), uploadId: found.uploadId, record: NO_RECORD };
        const named = { ...upload, record: { ...NO_RECORD, key: found.key } };
        if ((await this.#abort({ model }, named)) === undefined) return `${name} is not over`;
      }
    }
    if (!(await this.#sweep(this.#anyNode()))) return 'the sweep fails';
    for (const box of boxes) {
      const wrong = await this.#unused(box);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  async #unused(box: Box): Promise<string | undefined> {
    const used = new Set<string>();
    const node = this.#cluster.nodes[0]!;
    let objects = 0;
    for (const model of box.keys) {
      const settled = await this.#session.settle(node, async ({ proxy }, operation) => {
        const reader = await proxy.openObject(operation, objectOf(box, model));
        if (reader?.state.data?.manifest !== 'multipart') return undefined;
        return await openManifest(proxy, operation, objectOf(box, model), reader);
      });
      if (settled.kind !== 'done') return `${model.key} has no answer`;
      if (settled.result === undefined) continue;
      objects++;
      for (const { path } of settled.result.parts) used.add(path.split('/').slice(3).join('/'));
    }
    const kept = await this.#kept(box);
    if (kept === undefined) return 'the container of parts has no answer';
    const extra = kept.filter(({ name }) => !name.startsWith(COMPLETIONS) && !used.has(name));
    if (extra.length > 0) return `kept for nothing: ${extra.map(({ name }) => name).join(' ')}`;
    const parts = kept.filter(({ name }) => name.startsWith(PARTS)).length;
    if (parts !== used.size) return `${parts} parts are listed of ${[...used].join(' ')}`;
    const completions = kept.length - parts;
    return completions === objects ? undefined : `${completions} records of ${objects} objects`;
  }

  /** What is kept for the uploads of a box; undefined: it can't be told. */
  async #kept(box: Box): Promise<readonly { readonly name: string }[] | undefined> {
    const node = this.#cluster.nodes[0]!;
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, partsContainer(containerOf(box)), ALL),
    );
    if (settled.kind !== 'done') return undefined;
    return (settled.result?.items ?? []).filter((item) => 'name' in item);
  }
}

type Wanted = Parameters<Uploads['begin']>[2];

const NO_RECORD: Upload['record'] = {
  key: '',
  contentType: '',
  user: {},
  system: {},
  groups: {},
  algorithm: 'crc64nvme',
  checksumType: 'FULL_OBJECT',
  asked: false,
  initiator: '',
  startedMicros: 0,
};

function recordOf({ model, content: { write } }: Plan): Wanted {
  const { startedMicros: _, ...record } = NO_RECORD;
  const user = { [TAG]: String(write) };
  return { ...record, key: model.name, contentType: typeOf(write), user };
}

function partOf({ content, ends }: Plan, number: number, isWrong = false): Buffer {
  const bytes = bytesOf(content.write, ends[number - 2] ?? 0, ends[number - 1]!);
  if (isWrong) bytes[0] = bytes[0]! ^ 0xff;
  return bytes;
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
