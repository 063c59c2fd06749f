/**
 * The clients: a few at a time, each asking any proxy that is up, on few names, so that they collide.
 * Every answer is checked at once by the key's model.
 */
import { OperatingError } from '#base/errors.ts';
import { objectPath } from '#base/names.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { ListedObject, ObjectReader, Operation, PutRequest } from '#proxy/contract.ts';
import type { Process, SimCluster, SimNode } from './cluster.ts';
import { ContainerModel } from './container-model.ts';
import { bytesOf, type Content, makeContent, typeOf, writeOf } from './content.ts';
import type { WriteRecord } from './model.ts';
import { type Floor, KeyModel, type Outcome, Violation, type WriteKind } from './model.ts';
import type { Attempt } from './tap.ts';

export const ACCOUNT = 'AUTH_sim';
const TAG = 'x-object-meta-tag';
/** An operation on a process that runs and does not stand still has an answer by then. */
const OPERATION_LIMIT_MS = 400_000;
const CHUNK = 3_000;

/** What a client may be told when something could not be done. */
const EXPECTED = new Set([
  'unavailable',
  'client-gone',
  'undecided',
  'overloaded',
  'clock-drift',
  'etag-mismatch',
  'length-mismatch',
  // The container went away while the operation was under way; only boxes that churn may say so.
  'no-container',
]);

export interface Box {
  readonly name: string;
  readonly policy: number;
  readonly keys: KeyModel[];
  /** Deleted and made again while clients use it; undefined: stays for the whole run. */
  readonly churn: ContainerModel | undefined;
}

export interface Tally {
  [what: string]: number;
}

export interface WorkloadOptions {
  readonly cluster: SimCluster;
  readonly random: Prng;
  readonly boxes: number;
  readonly keysPerBox: number;
  /** Largest body. */
  readonly largeBytes: number;
  /** Whether the last box is one that is deleted and made again. */
  readonly churns: boolean;
}

type Settled<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  | { readonly kind: 'failed'; readonly code: string }
  /** The proxy's process ended first. */
  | { readonly kind: 'lost' };

export class Workload {
  readonly boxes: Box[] = [];
  readonly tally: Tally = {};
  readonly #cluster: SimCluster;
  readonly #random: Prng;
  readonly #options: WorkloadOptions;
  #nextWrite = 1;
  #nextTxn = 1;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
    this.#random = options.random;
    const { policies } = options.cluster.shape.view;
    for (let b = 0; b < options.boxes; b++) {
      const name = `box${b}`;
      const keys = Array.from({ length: options.keysPerBox }, (_, k) => {
        return new KeyModel(objectPath({ account: ACCOUNT, container: name, object: `key${k}` }));
      });
      const isChurned = options.churns && b === options.boxes - 1;
      const churn = isChurned ? new ContainerModel(name) : undefined;
      this.boxes.push({ name, policy: policies[b % policies.length]!.index, keys, churn });
    }
    options.cluster.tap.onAttempt = (attempt) => this.#attempted(attempt);
  }

  get random(): Prng {
    return this.#random;
  }

  model(key: string): KeyModel | undefined {
    for (const box of this.boxes) for (const model of box.keys) if (model.key === key) return model;
    return undefined;
  }

  writeAt(key: string, contentType: string): WriteRecord | undefined {
    const id = writeOf(contentType);
    return this.model(key)?.writes.find((write) => write.id === id);
  }

  /** The containers, made before anything goes wrong. */
  async create(): Promise<void> {
    const { proxy } = this.#cluster.nodes[0]!.process!;
    for (const { name, policy, churn } of this.boxes) {
      if (churn !== undefined) continue; // made by clients
      const container = { account: ACCOUNT, container: name };
      for (let made: string | undefined; made === undefined; await this.sleep(200)) {
        made = await proxy
          .createContainer(this.#operation(), container, { policy, changes: {} })
          .catch(() => undefined); // nodes that are still starting
      }
    }
  }

  /** One client for the length of the run. */
  async client(isOver: () => boolean, thinkMs: number): Promise<void> {
    while (!isOver()) {
      await this.sleep(this.#random.delay(thinkMs));
      if (isOver()) return;
      const node = this.#anyNode();
      if (node !== undefined) await this.#anything(node);
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#cluster.world.schedule(ms, 'client', resolve);
    });
  }

  #anyNode(): SimNode | undefined {
    const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
    return up.length === 0 ? undefined : up[this.#random.integer(up.length)];
  }

  async #anything(node: SimNode): Promise<void> {
    const box = this.boxes[this.#random.integer(this.boxes.length)]!;
    const model = box.keys[this.#random.integer(box.keys.length)]!;
    if (box.churn !== undefined && this.#random.chance(0.25)) {
      await this.#churn(node, box, box.churn);
      return;
    }
    const dice = this.#random.float();
    if (dice < 0.3) await this.put(node, box, model);
    else if (dice < 0.42) await this.delete(node, box, model);
    else if (dice < 0.5) await this.post(node, box, model);
    else if (dice < 0.55) await this.copy(node, box, model);
    else if (dice < 0.8) await this.get(node, box, model);
    else if (dice < 0.86) await this.head(node, box, model);
    else await this.list(node, box);
  }

  // --- writes

  async put(node: SimNode, box: Box, model: KeyModel): Promise<Outcome | undefined> {
    const id = this.#nextWrite++;
    return this.#putContent(node, box, model, makeContent(id, this.#size()));
  }

  async #putContent(
    node: SimNode,
    box: Box,
    model: KeyModel,
    content: Content,
  ): Promise<Outcome | undefined> {
    const isBad = this.#random.chance(0.02);
    const request = this.#request(content, isBad);
    const write = this.#begin(node, model, 'put', content);
    const settled = await this.#settle(
      node,
      (process, operation) => process.proxy.putObject(operation, this.#name(box, model), request),
      write,
    );
    let outcome: Outcome = 'undecided';
    if (settled.kind === 'done') {
      const { kind, ack, etag, size } = settled.result;
      if (kind === 'no-container' && box.churn !== undefined) {
        return this.#end(write, 'undecided', settled);
      }
      if (kind !== 'stored') throw this.#notFound(model, `put ${write.record.id} is told ${kind}`);
      if (isBad)
        throw new Violation('one version', `put ${content.write} with a wrong etag stored`);
      if (etag !== content.etag || size !== content.size) {
        throw new Violation('one version', `put ${content.write} is told another etag or size`);
      }
      if (ack === undefined) outcome = 'full';
    } else if (isBad && settled.kind === 'failed' && settled.code === 'etag-mismatch') {
      outcome = 'none';
    }
    return this.#end(write, outcome, settled);
  }

  #request(content: Content, isBad: boolean): PutRequest {
    const { write, size, etag } = content;
    const isChunked = this.#random.chance(0.3);
    return {
      body: this.#body(content, this.#random.chance(0.2)),
      length: isChunked ? undefined : size,
      maxLength: 5 * 2 ** 30,
      contentType: typeOf(write),
      user: { [TAG]: String(write) },
      system: {},
      ...(isBad
        ? { expectedEtag: '0'.repeat(32) }
        : this.#random.chance(0.3) && { expectedEtag: etag }),
    };
  }

  async *#body({ write, size }: Content, isSlow: boolean): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += CHUNK) {
      if (isSlow) await this.sleep(this.#random.delay(20));
      yield bytesOf(write, at, Math.min(size, at + CHUNK));
    }
  }

  #size(): number {
    const dice = this.#random.float();
    if (dice < 0.1) return 0;
    if (dice < 0.5) return 1 + this.#random.integer(1_000);
    if (dice < 0.8) return 1_000 + this.#random.integer(7_000);
    return 8_000 + this.#random.integer(this.#options.largeBytes);
  }

  async delete(node: SimNode, box: Box, model: KeyModel): Promise<Outcome | undefined> {
    const write = this.#begin(node, model, 'delete', undefined);
    const settled = await this.#settle(
      node,
      ({ proxy }, operation) => proxy.deleteObject(operation, this.#name(box, model)),
      write,
    );
    if (settled.kind === 'done') {
      const by = `delete ${write.record.id} via ${node.name}`;
      if (settled.result === 'no-container') {
        if (box.churn === undefined) throw this.#notFound(model, `${by}: no container`);
        model.sawNothing(write.floor, `${by} (no container)`, write.record);
        return this.#end(write, 'none', settled);
      }
      if (settled.result === 'deleted') model.sawSomething(write.floor, by);
      else model.sawNothing(write.floor, by, write.record);
    }
    return this.#end(write, settled.kind === 'done' ? 'full' : 'undecided', settled);
  }

  async post(node: SimNode, box: Box, model: KeyModel): Promise<void> {
    const write = this.#begin(node, model, 'post', undefined);
    const change = { user: { [TAG]: String(write.record.id) }, system: {}, deleteAt: null };
    const settled = await this.#settle(
      node,
      ({ proxy }, operation) => proxy.updateObject(operation, this.#name(box, model), change),
      write,
    );
    const by = `post ${write.record.id} via ${node.name}`;
    let outcome: Outcome = 'undecided';
    if (settled.kind === 'done' && settled.result === 'not-found') {
      model.sawNothing(write.floor, by);
      outcome = 'none';
    } else if (settled.kind === 'done') {
      model.sawSomething(write.floor, by);
      outcome = 'full';
    }
    this.#end(write, outcome, settled);
  }

  /** A copy is what the API makes of it: a get, and a put of what it gives. */
  async copy(node: SimNode, box: Box, model: KeyModel): Promise<void> {
    const target = box.keys[this.#random.integer(box.keys.length)]!;
    const found = await this.#open(node, box, model);
    if (found === undefined || found === 'failed') return;
    const bytes = await this.#readAll(node, model, found, 0, found.length);
    if (bytes === undefined) return;
    await this.#putContent(node, box, target, makeContent(this.#nextWrite++, bytes.length));
  }

  // --- reads

  async get(
    node: SimNode,
    box: Box,
    model: KeyModel,
    read: Operation['read'] = this.#random.chance(0.1) ? 'newest' : 'quorum',
  ): Promise<boolean> {
    const reader = await this.#open(node, box, model, read);
    if (reader === 'failed') return false;
    if (reader === undefined) return true;
    const { length } = reader;
    let [start, end] = [0, length];
    if (length > 1 && this.#random.chance(0.4)) {
      start = this.#random.integer(length);
      end = start + 1 + this.#random.integer(length - start);
    }
    return (await this.#readAll(node, model, reader, start, end)) !== undefined;
  }

  /** Undefined: honestly not there. */
  async #open(
    node: SimNode,
    box: Box,
    model: KeyModel,
    read: Operation['read'] = 'quorum',
  ): Promise<ObjectReader | undefined | 'failed'> {
    const { floor } = model;
    const settled = await this.#settle(node, ({ proxy }, operation) =>
      proxy.openObject({ ...operation, read }, this.#name(box, model)),
    );
    this.#count('get', settled);
    if (settled.kind !== 'done') return 'failed';
    const by = `get via ${node.name} at ${this.#now()}`;
    const reader = settled.result;
    if (reader === undefined) model.sawNothing(floor, by);
    else this.#sawState(model, reader.state, floor, by);
    return reader;
  }

  #sawState(model: KeyModel, state: ObjectReader['state'], floor: Floor, by: string): void {
    const { data, groups } = state;
    const write = writeOf(data?.contentType ?? '');
    if (data === undefined || write === undefined) {
      throw new Violation('one version', `${by}: ${data?.contentType} is no write's`, model.key);
    }
    const { timestamp, etag, size } = data;
    const user = groups['user'];
    model.sawLive(
      { write, timestamp, etag, size, tag: user?.values[TAG], tagTimestamp: user?.timestamp },
      floor,
      by,
    );
  }

  /** Undefined: broke off, as it may. @throws Violation when a byte is wrong */
  async #readAll(
    node: SimNode,
    model: KeyModel,
    reader: ObjectReader,
    start: number,
    end: number,
  ): Promise<Buffer | undefined> {
    const write = writeOf(reader.state.data!.contentType)!;
    const settled = await this.#settle(node, async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of reader.read(start, end)) chunks.push(chunk);
      return Buffer.concat(chunks);
    });
    this.#count('body', settled);
    if (settled.kind !== 'done') return undefined;
    if (!settled.result.equals(bytesOf(write, start, end))) {
      const facts = `bytes ${start}-${end} of put ${write}, ${settled.result.length} arrived`;
      throw new Violation('one version', `get via ${node.name}: wrong ${facts}`, model.key);
    }
    return settled.result;
  }

  async head(node: SimNode, box: Box, model: KeyModel): Promise<boolean> {
    const { floor } = model;
    const settled = await this.#settle(node, ({ proxy }, operation) =>
      proxy.statObject(operation, this.#name(box, model)),
    );
    this.#count('head', settled);
    if (settled.kind !== 'done') return false;
    const by = `head via ${node.name} at ${this.#now()}`;
    if (settled.result === undefined) model.sawNothing(floor, by);
    else this.#sawState(model, settled.result, floor, by);
    return true;
  }

  /** A whole page, or a part of one. */
  async list(node: SimNode, box: Box, whole = false): Promise<boolean> {
    const floors = new Map(box.keys.map((model) => [model, model.floor]));
    const query = whole || this.#random.chance(0.6) ? { limit: 1_000 } : this.#partialQuery(box);
    const container = { account: ACCOUNT, container: box.name };
    const settled = await this.#settle(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, container, query),
    );
    this.#count('list', settled);
    if (settled.kind !== 'done') return false;
    const by = `list ${JSON.stringify(query)} via ${node.name} at ${this.#now()}`;
    const page = settled.result;
    if (page === undefined && box.churn === undefined) {
      throw new Violation('honest 404', `${by}: no container ${box.name}`);
    }
    if (page === undefined) {
      for (const model of box.keys) this.#sawItem(model, undefined, floors.get(model)!, by);
      return true;
    }
    const items = page.items.filter((item): item is ListedObject => 'name' in item);
    const names = items.map(({ name }) => name);
    if (names.some((name, i) => i > 0 && names[i - 1]! >= name)) {
      throw new Violation('list after write', `${by}: names out of order: ${names.join(' ')}`);
    }
    const last = page.truncated ? names.at(-1) : undefined;
    for (const model of box.keys) {
      const name = model.key.slice(model.key.lastIndexOf('/') + 1);
      if (query.marker !== undefined && name <= query.marker) continue;
      if (page.truncated && (last === undefined || name > last)) continue;
      const item = items.find((known) => known.name === name);
      this.#sawItem(model, item, floors.get(model)!, by);
    }
    return true;
  }

  /**
   * When all is at rest: what can be read is listed (promise 10). A row of a write that nobody was told
   * of may have outlived its object; the auditor mends that.
   */
  async listsWhatIsThere(node: SimNode, box: Box, except: ReadonlySet<string>): Promise<boolean> {
    const container = { account: ACCOUNT, container: box.name };
    const listed = await this.#settle(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, container, { limit: 1_000 }),
    );
    if (listed.kind !== 'done') return false;
    const items = listed.result?.items ?? [];
    for (const model of box.keys) {
      const found = await this.#settle(node, ({ proxy }, operation) =>
        proxy.statObject(operation, this.#name(box, model)),
      );
      if (found.kind !== 'done') return false;
      if (found.result?.data === undefined || except.has(model.key)) continue;
      const name = model.key.slice(model.key.lastIndexOf('/') + 1);
      const item = items.find((known) => 'name' in known && known.name === name);
      const row = item !== undefined && 'contentType' in item ? item.contentType : 'nothing';
      const { contentType } = found.result.data;
      if (row === contentType || this.writeAt(model.key, row)?.outcome === 'undecided') continue;
      if (row === 'nothing' && model.mayBeDeletedAbove(found.result.data.timestamp)) continue;
      const message = `${model.key} is ${contentType}, and its listing shows ${row}`;
      throw new Violation('converges', message, model.key);
    }
    return true;
  }

  // --- containers

  async #churn(node: SimNode, box: Box, model: ContainerModel): Promise<void> {
    const dice = this.#random.float();
    const name = { account: ACCOUNT, container: box.name };
    const began = model.begin(dice < 0.4 ? 'create' : dice < 0.8 ? 'delete' : 'look', this.#now());
    const settled = await this.#settle<string>(node, async ({ proxy }, operation) => {
      if (began.kind === 'create') {
        return proxy.createContainer(operation, name, { policy: box.policy, changes: {} });
      }
      if (began.kind === 'delete') return proxy.deleteContainer(operation, name);
      const found = await proxy.containerInfo(operation, name, true);
      return found === undefined ? 'absent' : 'present';
    });
    this.#count(`container-${began.kind}`, settled);
    model.end(began, settled.kind === 'done' ? settled.result : undefined, this.#now());
  }

  /** Makes it (again), whatever became of it. */
  async ensure(node: SimNode, box: Box): Promise<boolean> {
    const name = { account: ACCOUNT, container: box.name };
    const settled = await this.#settle(node, ({ proxy }, operation) =>
      proxy.createContainer(operation, name, { policy: box.policy, changes: {} }),
    );
    return settled.kind === 'done';
  }

  #partialQuery(box: Box): { limit: number; marker?: string } {
    const limit = 1 + this.#random.integer(3);
    if (this.#random.chance(0.4)) return { limit };
    return { limit, marker: `key${this.#random.integer(box.keys.length)}` };
  }

  #sawItem(model: KeyModel, item: ListedObject | undefined, floor: Floor, by: string): void {
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

  #attempted({ path, kind, timestamp, writeId, contentType, user }: Attempt): void {
    const write = contentType === undefined ? undefined : writeOf(contentType);
    const tag = user?.[TAG] === undefined ? undefined : Number(user[TAG]);
    const deletion = kind === 'deleted' ? writeId : undefined;
    this.model(path)?.attempted(timestamp, {
      ...(write !== undefined && { write }),
      ...(tag !== undefined && { tag }),
      ...(deletion !== undefined && { deletion }),
    });
  }

  // --- around an operation

  #begin(node: SimNode, model: KeyModel, kind: WriteKind, content: Content | undefined) {
    const id = content?.write ?? this.#nextWrite++;
    const record: WriteRecord = {
      id,
      key: model.key,
      kind,
      startMs: this.#now(),
      endMs: undefined,
      outcome: 'pending',
      timestamps: [],
      renewed: new Set(),
      content,
      via: node.name,
    };
    model.begin(record);
    const txn = `tx${this.#nextTxn++}`;
    this.#cluster.tap.listen(txn, (attempt) => {
      const { timestamp } = attempt;
      if (!isOwn(record, attempt) || record.timestamps.at(-1) === timestamp) return;
      if (kind === 'delete') record.writeId ??= attempt.writeId;
      record.timestamps.push(timestamp);
    });
    return { record, model, floor: model.floor, txn };
  }

  #end(
    write: { record: WriteRecord; model: KeyModel; floor: Floor },
    outcome: Outcome,
    settled: Settled<unknown>,
  ): Outcome {
    const { record, model, floor } = write;
    this.#count(record.kind, settled);
    model.end(record, outcome, this.#now(), floor);
    return outcome;
  }

  #name({ name }: Box, { key }: KeyModel) {
    return { account: ACCOUNT, container: name, object: key.slice(key.lastIndexOf('/') + 1) };
  }

  #operation(txn = `tx${this.#nextTxn++}`, signal = new AbortController().signal): Operation {
    return { txn, signal, read: 'quorum' };
  }

  /** Runs an operation on a node until it is answered, or its process has ended. */
  async #settle<Result>(
    node: SimNode,
    run: (process: Process, operation: Operation) => Promise<Result>,
    write?: { readonly txn: string },
  ): Promise<Settled<Result>> {
    const { process } = node;
    if (process === undefined) return { kind: 'lost' };
    const gone = new AbortController();
    const { world } = this.#cluster;
    if (this.#random.chance(0.02)) {
      world.schedule(this.#random.delay(10), 'client leaves', () => gone.abort());
    }
    const limit = world.schedule(OPERATION_LIMIT_MS, 'operation limit', () => {
      hung.reject(new Violation('liveness', `an operation via ${node.name} has no answer`));
    });
    const hung = Promise.withResolvers<never>();
    hung.promise.catch(() => undefined);
    const operation = this.#operation(write?.txn, gone.signal);
    const answer = run(process, operation).then(
      (result): Settled<Result> => ({ kind: 'done', result }),
      (error: unknown): Settled<Result> => this.#failure(error),
    );
    const lost = process.ended.then((): Settled<Result> => ({ kind: 'lost' }));
    const settled = await Promise.race([answer, lost, hung.promise]);
    limit.task = undefined;
    return settled;
  }

  #failure(error: unknown): { kind: 'failed'; code: string } {
    if (error instanceof Violation) throw error;
    if (error instanceof OperatingError && EXPECTED.has(error.code)) {
      return { kind: 'failed', code: error.code };
    }
    const text = error instanceof Error ? `${error.stack}` : String(error);
    throw new Violation('clear errors', `a client is told: ${text}`);
  }

  #notFound(model: KeyModel, message: string): Violation {
    return new Violation('honest 404', message, model.key);
  }

  #count(what: string, settled: Settled<unknown>): void {
    const name = settled.kind === 'failed' ? `${what}:${settled.code}` : `${what}:${settled.kind}`;
    this.tally[name] = (this.tally[name] ?? 0) + 1;
  }

  #now(): number {
    return this.#cluster.world.nowMs;
  }
}

/** An operation may also send what others wrote, when it settles it. */
function isOwn({ kind, id, writeId }: WriteRecord, attempt: Attempt): boolean {
  switch (kind) {
    case 'put':
      return attempt.kind === 'live' && writeOf(attempt.contentType ?? '') === id;
    case 'delete':
      return attempt.kind === 'deleted' && (writeId === undefined || writeId === attempt.writeId);
    case 'post':
      return attempt.user?.[TAG] === String(id);
  }
}
