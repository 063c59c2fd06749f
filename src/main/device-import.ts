/**
 * Takes back what a removed device still holds (`anello device import`), or one whose place another has taken
 * while it was away (incarnations.ts): the folder is opened beside the node's own devices, serves nobody, and
 * every live object in it is written anew where the cluster knows nothing newer of its name. One import at a
 * time; it may be begun again as often as one likes.
 *
 * The only way in for such a device: by itself it is refused (ring-check.ts, checkSender), for a deletion of
 * what it holds may have been reclaimed. So a person decides.
 */
import { isLive } from '#base/entry.ts';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device, Entry } from '#device/contract.ts';
import { IdleRows } from '#device/idle-rows.ts';
import { DeviceInspector } from '#device/inspect.ts';
import { openDevice } from '#device/open.ts';
import { splitPath } from '#object/object-path.ts';
import type { Store } from '#proxy/contract.ts';
import { type TakenBack, takeBack } from '#proxy/take-back.ts';
import { isMember } from '#ring/ring-check.ts';
import type { Foundation } from './foundation.ts';
import { Incarnations } from './incarnations.ts';

export interface ImportOrder {
  readonly path: string;
  /** Only names that begin so. */
  readonly prefix?: string | undefined;
  /** Says what would be taken. */
  readonly dryRun?: boolean | undefined;
}

/** `no-body`: the device knows the object, but has no good bytes of it. */
type Outcome = TakenBack | 'no-body' | 'failed';

export interface ImportStatus {
  readonly state: 'idle' | 'running' | 'done' | 'failed';
  readonly path?: string;
  readonly error?: string;
  readonly counts: Readonly<Record<Outcome, number>>;
  /** Names that were not taken though they might be wanted, the first of them. */
  readonly problems: readonly { readonly name: string; readonly what: string }[];
}

const PAGE = 256;
const AT_ONCE = 4;
const MAX_PROBLEMS = 100;
const NOTHING = { taken: 0, known: 0, deleted: 0, 'no-container': 0, 'no-body': 0, failed: 0 };

export class DeviceImport {
  readonly #foundation: Foundation;
  readonly #store: () => Store;
  readonly #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #state: ImportStatus['state'] = 'idle';
  #path = '';
  #error: string | undefined;
  #counts: Record<Outcome, number> = { ...NOTHING };
  #problems: { name: string; what: string }[] = [];

  constructor(foundation: Foundation, store: () => Store) {
    this.#foundation = foundation;
    this.#store = store;
  }

  status(): ImportStatus {
    const facts = { state: this.#state, counts: this.#counts, problems: this.#problems };
    const path = this.#path === '' ? {} : { path: this.#path };
    return { ...facts, ...path, ...(this.#error !== undefined && { error: this.#error }) };
  }

  /** Resolves when it has begun. @throws OperatingError `import-refused`, `device-blank`, `damaged` */
  async start(order: ImportOrder): Promise<void> {
    if (this.#state === 'running') throw refused('another import is under way');
    this.#state = 'running';
    this.#path = order.path;
    this.#error = undefined;
    this.#counts = { ...NOTHING };
    this.#problems = [];
    try {
      const deviceId = await this.#check(order.path);
      this.#running = this.#run(deviceId, order);
    } catch (error) {
      this.#ended(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #check(folder: string): Promise<number> {
    const { env, config, cluster } = this.#foundation;
    const inspector = await DeviceInspector.open(env.disk, folder);
    const { deviceId, clusterId, incarnation } = inspector.identity;
    await inspector.close();
    if (clusterId !== config.clusterId) throw refused('the device belongs to another cluster');
    // One that was replaced is never in service again, though its number is.
    const isFormer = await new Incarnations(this.#foundation, deviceId).isFormer(incarnation);
    if (isMember(cluster.current(), deviceId) && !isFormer) {
      throw refused(`device ${deviceId} is in service: what it holds is repaired by itself`);
    }
    return deviceId;
  }

  async #run(deviceId: number, order: ImportOrder): Promise<void> {
    const { env, clock, config } = this.#foundation;
    const { path, dryRun } = order;
    env.log.warn('device.import', { device: deviceId, path, dryRun });
    const { clusterId } = config;
    const openRows = (): IdleRows => new IdleRows();
    let failure: unknown;
    try {
      const device = await openDevice(env, path, { clusterId, deviceId, clock, openRows });
      await this.#takeAll(device, order).finally(() => device.close());
    } catch (error) {
      failure = error;
    }
    env.log.warn('device.import-ended', { device: deviceId, ...this.#counts, error: failure });
    this.#ended(failure);
  }

  #ended(error: unknown): void {
    this.#state = error === undefined ? 'done' : 'failed';
    if (error !== undefined) this.#error = messageOf(error);
  }

  async #takeAll(device: Device, order: ImportOrder): Promise<void> {
    for (const policy of this.#foundation.cluster.current().rings.keys()) {
      if (policy === CONTAINER_RING || policy === ACCOUNT_RING) continue;
      let from: Buffer | undefined = Buffer.alloc(HASH_BYTES);
      while (from !== undefined) {
        const page = device.entries(policy, from, undefined, PAGE);
        for (let i = 0; i < page.length; i += AT_ONCE) {
          this.#stopped.signal.throwIfAborted();
          await Promise.all(
            page.slice(i, i + AT_ONCE).map((entry) => this.#take(device, entry, order)),
          );
        }
        from = page.length < PAGE ? undefined : after(page.at(-1)!.key.hash);
      }
    }
  }

  async #take(device: Device, entry: Entry, { prefix = '', dryRun }: ImportOrder): Promise<void> {
    const { env } = this.#foundation;
    const name = splitPath(entry.path);
    const nowSeconds = Math.floor(env.clock.wallMicros() / 1e6);
    if (name === undefined || !entry.path.startsWith(prefix)) return;
    if (!isLive(entry.state, nowSeconds)) return;
    const length = entry.state.data?.body?.length ?? 0;
    if (!entry.hasBody && length > 0) return this.#note(entry, 'no-body', 'its body is not here');
    const body = length === 0 ? nothing() : device.read(entry, { start: 0, end: length });
    const operation = { txn: 'import', signal: this.#stopped.signal, read: 'quorum' } as const;
    try {
      const outcome = await takeBack(
        this.#store(),
        operation,
        name,
        entry.state,
        body,
        dryRun === true,
      );
      this.#note(entry, outcome, 'there is no such container');
    } catch (error) {
      const outcome = codeOf(error) === 'damaged' ? 'no-body' : 'failed';
      this.#note(entry, outcome, messageOf(error));
    }
  }

  #note(entry: Entry, outcome: Outcome, what: string): void {
    this.#counts[outcome]++;
    const isWanted = outcome === 'no-container' || outcome === 'no-body' || outcome === 'failed';
    if (isWanted && this.#problems.length < MAX_PROBLEMS)
      this.#problems.push({ name: entry.path, what });
  }
}

async function* nothing(): AsyncGenerator<Buffer> {
  // an empty body
}

/** The next hash; undefined after the last. */
function after(hash: Buffer): Buffer | undefined {
  const next = Buffer.from(hash);
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}

function refused(why: string): OperatingError {
  return new OperatingError('import-refused', why);
}
