/**
 * Ring changes that a real authority conducts while it dies at every step: nothing that was acknowledged is
 * lost, every change is done or not begun, and all of them are settled in the end.
 */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import type { ChangeRequest } from '#ring/builder/change-request.ts';
import type { RingSet } from '#ring/builder/ring-set.ts';
import { AuthorityRun } from './authority-run.ts';
import type { SimNode } from './cluster.ts';

const BOX = { account: 'AUTH_sim', container: 'box' };
const KEYS = ['a', 'b', 'c', 'd'];
const NO_CHANGE = { addDevice: [], setWeight: [], drain: [], remove: [], replicas: [] };
const WAIT_MS = 1_000;
const PAUSE_MS = 1_000;
const LIMIT_MS = 600_000;

interface Change {
  readonly request: ChangeRequest;
  readonly isDone: (set: RingSet) => boolean;
}

function weight(node: string, wanted: number): Change {
  return {
    request: { ...NO_CHANGE, setWeight: [`${node}=${wanted}`] },
    isDone: (set) => set.devices().find((device) => device.node === node)?.weight === wanted,
  };
}

function replicas(wanted: number): Change {
  return {
    request: { ...NO_CHANGE, replicas: [`object/standard=${wanted}`] },
    isDone: (set) => set.builders.get('object/standard')!.state.settings.replicas === wanted,
  };
}

const CHANGES = [weight('bari-2', 0), replicas(4), weight('bari-2', 100)];

/** As an operator who tries again until it is so. */
async function make(run: AuthorityRun, { request, isDone }: Change): Promise<void> {
  for (let waited = 0; waited < LIMIT_MS; waited += WAIT_MS) {
    try {
      const { set } = await run.authority.store.snapshot();
      if (isDone(set) && set.joint === 0) return;
      if (!isDone(set)) {
        const { plan } = await run.authority.rings.plan({ kind: 'request', request });
        await run.authority.rings.apply(plan, { who: 'operator' });
      }
    } catch (error) {
      expect(['dead', 'silent', 'change-under-way', 'stale-plan']).toContain(codeOf(error));
    }
    await run.sleep(WAIT_MS);
  }
  throw new Error(`not done within ${LIMIT_MS} ms: ${JSON.stringify(request)}`);
}

/** Writes one key, over and over, and reads it through another node. */
class Client {
  readonly #run: AuthorityRun;
  readonly #key: string;
  #count = 0;
  /** What the key may hold: what was acknowledged last, and what has been tried since. */
  #possible: (string | undefined)[] = [undefined];
  acknowledged = 0;

  constructor(run: AuthorityRun, key: string) {
    this.#run = run;
    this.#key = key;
  }

  async until(isOver: () => boolean): Promise<void> {
    const { nodes } = this.#run.cluster;
    for (let n = this.#key.charCodeAt(0); !isOver(); n++) {
      await this.#put(nodes[n % nodes.length]!);
      await this.check(nodes[(n + 1) % nodes.length]!).catch(expectUnavailable);
      await this.#run.sleep(PAUSE_MS);
    }
  }

  async #put(via: SimNode): Promise<void> {
    const content = `${this.#key} ${this.#count++}`;
    this.#possible.push(content);
    const stored = via.process!.proxy.putObject(this.#operation(), this.#name(), putOf(content));
    const isStored = await stored.then(() => true, expectUnavailable);
    if (isStored !== true) return;
    this.#possible = [content];
    this.acknowledged++;
  }

  /** Reads it once. @throws OperatingError `unavailable` */
  async check(via: SimNode): Promise<void> {
    const possible = this.#possible;
    const { proxy } = via.process!;
    const reader = await proxy.openObject(this.#operation(), this.#name());
    const chunks: Buffer[] = [];
    if (reader !== undefined)
      for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
    const found = reader === undefined ? undefined : Buffer.concat(chunks).toString();
    expect(possible).toContain(found);
  }

  #name() {
    return { ...BOX, object: this.#key };
  }

  #operation() {
    const signal = new AbortController().signal;
    return { txn: `${this.#key}-${this.#count}`, signal, read: 'quorum' as const };
  }
}

function expectUnavailable(error: unknown): void {
  expect(['unavailable', 'undecided']).toContain(codeOf(error));
}

function putOf(content: string) {
  const body = Buffer.from(content);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield body;
  }
  const { length } = body;
  return { body: chunks(), length, maxLength: length, contentType: 'x', user: {}, system: {} };
}

async function createBox({ cluster }: AuthorityRun): Promise<void> {
  const { proxy } = cluster.nodes[0]!.process!;
  const operation = { txn: 'box', signal: new AbortController().signal, read: 'quorum' as const };
  await proxy.createContainer(operation, BOX, { changes: {} });
}

describe('an authority that dies at every step of ring changes of real nodes', () => {
  it('loses nothing that was acknowledged, and all changes are settled in the end', {}, async () => {
    const run = await AuthorityRun.start(1);
    await run.world.run(changes(run));
  });
});

async function changes(run: AuthorityRun): Promise<void> {
  await run.sleep(2_000);
  await createBox(run);
  let isOver = false;
  const clients = KEYS.map((key) => new Client(run, key));
  const writing = Promise.all(clients.map((client) => client.until(() => isOver)));
  for (const [n, change] of CHANGES.entries()) {
    // One node after another hears of nothing while a change begins: what it places by the old ring is refused.
    const late = run.cluster.nodes[n % run.cluster.nodes.length]!.name;
    await run.sleep(3_000);
    run.cut(late, true);
    const made = make(run, change);
    await run.sleep(8_000);
    run.cut(late, false);
    await made;
  }
  run.spare();
  isOver = true;
  await writing;
  const { version } = await run.authority.store.head();
  await run.sleep(5_000);
  for (const { name } of run.cluster.nodes) expect(run.versionAt(name)).toBe(version);
  for (const client of clients) {
    expect(client.acknowledged).toBeGreaterThan(20);
    for (const node of run.cluster.nodes) await client.check(node);
  }
  expect(run.deaths).toBeGreaterThan(10);
}
