/**
 * Clients of a container that keeps versions: they write, hide, delete and read versions and page through
 * them, through any proxy, while versioning is suspended and enabled again. What they are told is judged by
 * version-model.ts; at rest version-checks.ts looks at everything.
 */
import { type ContainerName, objectPath } from '#base/names.ts';
import type { Prng } from '#env/sim/prng.ts';
import { type Condition, IF_ABSENT, ifMatch } from '#proxy/condition.ts';
import type { ObjectReader, Operation, PutResult } from '#proxy/contract.ts';
import {
  VERSIONING_HEADER,
  type VersionedStore,
  type Versioning,
} from '#proxy/versions/contract.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { bytesOf, makeContent, typeOf, writeOf } from './content.ts';
import { Violation } from './model.ts';
import type { Session, Settled } from './session.ts';
import { NULL, VersionModel, type VersionRemoval, type VersionWrite } from './version-model.ts';
import { readPages } from './version-pages.ts';
import type { Workload } from './workload.ts';

/** An account of its own: what others count is not disturbed. */
export const VERSIONED: ContainerName = { account: 'AUTH_versions', container: 'kept' };
/** Names of which one begins another, and one has what a delimiter splits. */
const KEYS = ['k', 'k/a', 'k0'];
const MAX_BYTES = 12_000;
/** Longer than a proxy believes what it knew of a container. */
const STALE_MS = 6_000;
const RETRY_MS = 200;
const ATTEMPTS = 200;
const MAX_CLIENTS = 4;
/** Between two changes of the container's versioning. */
const TURN_MS = 3_000;

type Guard = Pick<VersionWrite, 'replaces'> & { readonly condition: Condition | undefined };

export class Versions {
  readonly models: readonly VersionModel[];
  readonly session: Session;
  readonly #cluster: SimCluster;
  readonly #random: Prng;
  readonly #policy: number;
  #now = 0;
  /** Versioning may be suspended until then. */
  #suspendedMs = 0;
  /** Somebody wanted to suspend it, and was not told what became of it. */
  #isUnsure = false;

  constructor(cluster: SimCluster, workload: Workload, random: Prng) {
    this.#cluster = cluster;
    this.#random = random;
    this.session = workload.session;
    const { policies } = cluster.shape.view;
    this.#policy = policies[random.integer(policies.length)]!.index;
    const keys = KEYS.slice(0, 1 + random.integer(KEYS.length));
    this.models = keys.map((name) => {
      return new VersionModel(objectPath({ ...VERSIONED, object: name }), name);
    });
  }

  get policy(): number {
    return this.#policy;
  }

  /** Before anything goes wrong: some names are older than the versioning of their container. */
  async create(): Promise<void> {
    const node = this.#cluster.nodes[0]!;
    const options = { policy: this.#policy, mode: 'strict' as const, changes: {} };
    await this.#insist(node, (store, operation) =>
      store.createContainer(operation, VERSIONED, options),
    );
    for (const model of this.models)
      if (this.#random.chance(0.5)) await this.#putFirst(node, model);
    const changes = { [VERSIONING_HEADER]: 'Enabled' };
    await this.#insist(node, (store, operation) =>
      store.updateContainer(operation, VERSIONED, changes),
    );
    await this.session.sleep(STALE_MS);
  }

  /** What it makes is the newest of all. */
  async putAnew(node: SimNode, model: VersionModel): Promise<boolean> {
    return await this.#write(node, model, true, NO_GUARD);
  }

  async #putFirst(node: SimNode, model: VersionModel): Promise<void> {
    const write = this.#begin(node, model, true, { replaces: undefined, condition: undefined });
    await this.#insist(node, (store, operation) => this.#send(store, operation, model, write));
    this.#end(write, 'done', NULL);
  }

  async #insist<Result>(
    node: SimNode,
    work: (store: VersionedStore, operation: Operation) => Promise<Result>,
  ): Promise<Result> {
    for (let i = 0; i < ATTEMPTS; i++) {
      const settled = await this.ask(node, work);
      if (settled.kind === 'done') return settled.result;
      await this.session.sleep(RETRY_MS);
    }
    throw new Violation('liveness', 'a container with versions can not be made');
  }

  clients(isOver: () => boolean, thinkMs: number): Promise<void>[] {
    const count = 1 + this.#random.integer(MAX_CLIENTS);
    const operator = this.#operator(isOver);
    return [operator, ...Array.from({ length: count }, () => this.#client(isOver, thinkMs))];
  }

  async #client(isOver: () => boolean, thinkMs: number): Promise<void> {
    while (!isOver()) {
      await this.session.sleep(this.#random.delay(thinkMs));
      const node = this.#anyNode();
      if (isOver() || node === undefined) continue;
      await this.#anything(node, this.models[this.#random.integer(this.models.length)]!);
    }
  }

  async #anything(node: SimNode, model: VersionModel): Promise<void> {
    const dice = this.#random.float();
    if (dice < 0.28) await this.#put(node, model);
    else if (dice < 0.38) await this.#hide(node, model);
    else if (dice < 0.54) await this.#remove(node, model);
    else if (dice < 0.66) await this.readCurrent(node, model);
    else if (dice < 0.78) await this.#readOne(node, model);
    else if (dice < 0.83) await this.#copy(node, model);
    else if (dice < 0.89) await this.listCurrent(node);
    else await this.list(node, true);
  }

  /** Suspends versioning, and enables it again. */
  async #operator(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.session.sleep(this.#random.delay(TURN_MS));
      const node = this.#anyNode();
      if (isOver() || node === undefined) continue;
      await this.#turn(node, this.#random.chance(0.4) ? 'Suspended' : 'Enabled');
    }
  }

  async #turn(node: SimNode, versioning: Versioning): Promise<void> {
    if (versioning === 'Suspended') this.#suspendedMs = Number.POSITIVE_INFINITY;
    const settled = await this.ask(node, (store, operation) =>
      store.updateContainer(operation, VERSIONED, { [VERSIONING_HEADER]: versioning }),
    );
    this.session.count(`versioning-${versioning.toLowerCase()}`, settled);
    const isSure = settled.kind === 'done';
    if (isSure && settled.result !== 'updated') {
      throw new Violation('versions: honest 404', `${VERSIONED.container}: ${settled.result}`);
    }
    // What nobody was told of may take effect whenever it likes.
    if (versioning === 'Suspended') this.#isUnsure ||= !isSure;
    else if (isSure && !this.#isUnsure) {
      this.#suspendedMs = Math.min(this.#suspendedMs, this.session.nowMs + STALE_MS);
    }
  }

  #anyNode(): SimNode | undefined {
    const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
    return up[this.#random.integer(Math.max(1, up.length))];
  }

  #put(node: SimNode, model: VersionModel): Promise<boolean> {
    return this.#write(node, model, true, this.#guard(model));
  }

  /** A plain DELETE. */
  #hide(node: SimNode, model: VersionModel): Promise<boolean> {
    const { replaces, condition } = this.#guard(model);
    const guard = replaces === 'nothing' ? NO_GUARD : { replaces, condition };
    return this.#write(node, model, false, guard);
  }

  /** In place of something that is known, of nothing, or of whatever there is. */
  #guard(model: VersionModel): Guard {
    const dice = this.#random.float();
    if (dice < 0.15) return { replaces: 'nothing', condition: IF_ABSENT };
    if (dice > 0.4) return NO_GUARD;
    const puts = model.writes.filter(({ content, outcome }) => {
      return content !== undefined && outcome === 'done';
    });
    // One of the last.
    const replaces = puts.at(-1 - this.#random.integer(2));
    if (replaces?.content === undefined) return NO_GUARD;
    return { replaces, condition: ifMatch(replaces.content.etag) };
  }

  /** False: no answer. */
  async #write(node: SimNode, model: VersionModel, isPut: boolean, guard: Guard): Promise<boolean> {
    const { condition } = guard;
    const write = this.#begin(node, model, isPut, guard);
    const settled = await this.ask(node, async (store, operation) => {
      if (isPut) return await this.#send(store, operation, model, write, condition);
      return await store.removeObject(operation, nameOf(model), condition);
    });
    this.session.count(isPut ? 'version-put' : 'version-hide', settled);
    write.mayBeNull ||= this.#mayBeSuspended;
    if (settled.kind !== 'done') {
      this.#end(write, 'undecided');
      return false;
    }
    const { kind, versionId } = settled.result;
    const by = `${isPut ? 'put' : 'delete'} ${write.id} via ${node.name}`;
    if (kind === 'precondition-failed' && condition !== undefined) {
      this.#end(write, 'refused');
      this.#judgeRefusal(model, write, by);
      return true;
    }
    if ((kind !== 'stored' && kind !== 'deleted') || versionId === undefined) {
      throw model.broken('clear answers', `${by} is told ${kind}, version ${versionId}`);
    }
    if (versionId === NULL && !write.mayBeNull) {
      throw model.broken('clear answers', `${by} is the null version: nothing was suspended`);
    }
    this.#end(write, 'done', versionId);
    model.known.add(versionId);
    this.#judgeWrite(model, write, by);
    return true;
  }

  #judgeWrite(model: VersionModel, write: VersionWrite, by: string): void {
    const { replaces } = write;
    if (replaces === 'nothing') model.sawNothing(write, by, write);
    else if (replaces !== undefined) model.sawCurrent(replaces.id, write, by, write);
    model.checkWinners(write);
  }

  #judgeRefusal(model: VersionModel, write: VersionWrite, by: string): void {
    const { replaces } = write;
    if (replaces === 'nothing') model.sawSomething(write, by, write);
    else if (replaces !== undefined) model.sawNotCurrent(replaces, write, by, write);
  }

  #begin(
    { name: via }: SimNode,
    model: VersionModel,
    isPut: boolean,
    { replaces }: Guard,
  ): VersionWrite {
    const id = this.session.newWriteId();
    // No two are equal: conditions speak of them by their ETags.
    const size = 8 + this.#random.integer(this.#random.chance(0.7) ? 1_000 : MAX_BYTES);
    const write: VersionWrite = {
      id,
      content: isPut ? makeContent(id, size) : undefined,
      replaces,
      begun: ++this.#now,
      ended: Number.POSITIVE_INFINITY,
      outcome: 'pending',
      versionId: undefined,
      mayBeNull: this.#mayBeSuspended,
      via,
    };
    model.writes.push(write);
    return write;
  }

  #end(write: VersionWrite, outcome: VersionWrite['outcome'], versionId?: string): void {
    write.outcome = outcome;
    write.versionId = versionId;
    if (outcome !== 'undecided') write.ended = ++this.#now;
  }

  get #mayBeSuspended(): boolean {
    return this.session.nowMs < this.#suspendedMs;
  }

  #send(
    store: VersionedStore,
    operation: Operation,
    { name: object }: VersionModel,
    { id, content }: VersionWrite,
    condition?: Condition,
  ): Promise<PutResult> {
    const { size } = content!;
    return store.putObject(
      operation,
      { ...VERSIONED, object },
      {
        body: once(bytesOf(id, 0, size)),
        length: size,
        maxLength: size,
        contentType: typeOf(id),
        user: {},
        system: {},
        ...(condition !== undefined && { condition }),
      },
    );
  }

  async #remove(node: SimNode, model: VersionModel): Promise<void> {
    const ids = [NULL, ...model.known];
    await this.remove(node, model, ids[this.#random.integer(ids.length)]!);
  }

  /** Deletes a version for good. */
  async remove(node: SimNode, model: VersionModel, versionId: string): Promise<boolean> {
    const removal: VersionRemoval = {
      versionId,
      begun: ++this.#now,
      ended: Number.POSITIVE_INFINITY,
      outcome: 'pending',
      via: node.name,
    };
    model.removals.push(removal);
    const settled = await this.ask(node, (store, operation) =>
      store.removeObject(operation, { ...nameOf(model), version: versionId }),
    );
    this.session.count('version-remove', settled);
    if (settled.kind !== 'done') {
      removal.outcome = 'undecided';
      return false;
    }
    removal.ended = ++this.#now;
    removal.outcome = 'done';
    const { kind } = settled.result;
    const by = `deletion of version ${versionId} via ${node.name}`;
    if (kind === 'not-found') model.sawNoVersion(versionId, removal, by, removal);
    else if (kind !== 'deleted') throw model.broken('clear answers', `${by} is told ${kind}`);
    return true;
  }

  async readCurrent(node: SimNode, model: VersionModel): Promise<boolean> {
    const begun = ++this.#now;
    const found = await this.#open(node, model, undefined);
    if (found === 'failed') return false;
    const by = `get via ${node.name} at ${this.session.nowMs}`;
    if (found === undefined) {
      model.sawNothing({ begun, ended: this.#now }, by);
      await this.#markerOf(node, model);
      return true;
    }
    const { write } = this.#judgeReader(model, found, { begun, ended: this.#now }, by);
    if (write === undefined) throw model.broken('one version', `${by} is a delete marker`);
    model.sawCurrent(write, { begun, ended: this.#now }, by);
    return await this.#body(node, model, found, write);
  }

  /** What a client is told beside that nothing is there. */
  async #markerOf(node: SimNode, model: VersionModel): Promise<void> {
    const begun = ++this.#now;
    const settled = await this.ask(node, (store, operation) =>
      store.markerOf(operation, nameOf(model)),
    );
    this.session.count('version-marker', settled);
    if (settled.kind !== 'done' || settled.result === undefined) return;
    const seen = { versionId: settled.result.versionId, write: undefined, etag: '', size: 0 };
    const by = `marker via ${node.name} at ${this.session.nowMs}`;
    model.sawVersion(seen, { begun, ended: ++this.#now }, by);
  }

  async #readOne(node: SimNode, model: VersionModel): Promise<void> {
    const ids = [NULL, ...model.known];
    await this.readVersion(node, model, ids[this.#random.integer(ids.length)]!);
  }

  async readVersion(node: SimNode, model: VersionModel, versionId: string): Promise<boolean> {
    const begun = ++this.#now;
    const found = await this.#open(node, model, versionId);
    if (found === 'failed') return false;
    const span = { begun, ended: this.#now };
    const by = `get of version ${versionId} via ${node.name} at ${this.session.nowMs}`;
    if (found === undefined) {
      model.sawNoVersion(versionId, span, by);
      return true;
    }
    const { write } = this.#judgeReader(model, found, span, by, versionId);
    return write === undefined ? true : await this.#body(node, model, found, write);
  }

  async #open(
    node: SimNode,
    model: VersionModel,
    version: string | undefined,
  ): Promise<ObjectReader | undefined | 'failed'> {
    const read = this.#random.chance(0.1) ? 'newest' : 'quorum';
    const name = { ...nameOf(model), ...(version !== undefined && { version }) };
    const settled = await this.ask(node, (store, operation) =>
      store.openObject({ ...operation, read }, name),
    );
    this.session.count(version === undefined ? 'version-current' : 'version-get', settled);
    this.#now++;
    return settled.kind === 'done' ? settled.result : 'failed';
  }

  #judgeReader(
    model: VersionModel,
    { state: { data } }: ObjectReader,
    span: { readonly begun: number; readonly ended: number },
    by: string,
    asked = data?.versionId,
  ): { readonly write: number | undefined } {
    if (data?.versionId === undefined || data.versionId !== asked) {
      throw model.broken('one version', `${by} is version ${data?.versionId}`);
    }
    const write = data.deleteMarker ? undefined : numberOf(model, data.contentType, by);
    const { versionId, etag, size } = data;
    model.sawVersion({ versionId, write, etag, size }, span, by);
    return { write };
  }

  /** False: it broke off, as it may. */
  async #body(
    node: SimNode,
    model: VersionModel,
    reader: ObjectReader,
    write: number,
  ): Promise<boolean> {
    const settled = await this.session.settle(node, async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
      return Buffer.concat(chunks);
    });
    this.session.count('version-body', settled);
    if (settled.kind !== 'done') return false;
    if (settled.result.equals(bytesOf(write, 0, reader.length))) return true;
    throw model.broken('one version', `wrong bytes of put ${write} via ${node.name}`);
  }

  /** What the API makes of it: a version is read, and put again, under any name. */
  async #copy(node: SimNode, model: VersionModel): Promise<void> {
    const ids = [...model.known];
    const versionId = ids[this.#random.integer(Math.max(1, ids.length))];
    if (versionId === undefined || !(await this.readVersion(node, model, versionId))) return;
    const target = this.models[this.#random.integer(this.models.length)]!;
    await this.#write(node, target, true, NO_GUARD);
  }

  /** Through all pages, judged page by page; large ones, unless `mayBeSmall`. */
  list(node: SimNode, mayBeSmall = false): Promise<boolean> {
    const limit = mayBeSmall && this.#random.chance(0.6) ? 1 + this.#random.integer(4) : 1_000;
    return readPages(this, node, limit);
  }

  /** What a plain listing shows: the current version of each name. */
  async listCurrent(node: SimNode): Promise<boolean> {
    const begun = ++this.#now;
    const settled = await this.ask(node, (store, operation) =>
      store.listObjects(operation, VERSIONED, { limit: 1_000 }),
    );
    this.session.count('version-list-current', settled);
    if (settled.kind !== 'done') return false;
    const span = { begun, ended: ++this.#now };
    const by = `list via ${node.name} at ${this.session.nowMs}`;
    if (settled.result === undefined) throw new Violation('honest 404', `${by}: no container`);
    for (const model of this.models) {
      const item = settled.result.items.find(
        (known) => 'name' in known && known.name === model.name,
      );
      if (item === undefined || !('name' in item)) model.sawNothing(span, by);
      else model.sawCurrent(numberOf(model, item.contentType, by), span, by);
    }
    return true;
  }

  /** What happens now follows all that has happened. */
  tick(): number {
    return ++this.#now;
  }

  async ask<Result>(
    node: SimNode,
    work: (store: VersionedStore, operation: Operation) => Promise<Result>,
  ): Promise<Settled<Result>> {
    const { env } = node.machine;
    return await this.session.settle(node, ({ proxy }, operation) =>
      work(withVersions(proxy, env), { ...operation, user: undefined }),
    );
  }
}

const NO_GUARD: Guard = { replaces: undefined, condition: undefined };

export function nameOf({ name: object }: VersionModel) {
  return { ...VERSIONED, object };
}

/** Which write a content type names. */
export function numberOf(model: VersionModel, contentType: string, by: string): number {
  const write = writeOf(contentType);
  if (write !== undefined) return write;
  throw model.broken('one version', `${by}: ${contentType} is no write's`);
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
