/** What a process takes for its cluster, what it refuses and reports, and what it goes on with. */
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Machine } from '#env/sim/machine.ts';
import { SimWorld } from '#env/sim/world.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { encodeBundle } from './bundle.ts';
import { BundleSource, type FetchBundle, POLL_MS } from './bundle-source.ts';

const CLUSTER = 'c'.repeat(32);
const OWN = generateKeyPairSync('ed25519');
const FOREIGN = generateKeyPairSync('ed25519');
const FILE = '/bundle';
/** Several polls. */
const WHILE_MS = 4 * POLL_MS;

interface Made {
  readonly clusterId?: string;
  readonly key?: typeof OWN;
  readonly rings?: Readonly<Record<number, number>>;
}

const RINGS = { 0: 3, [CONTAINER_RING]: 3, [ACCOUNT_RING]: 3 };

function bundle(version: number, { clusterId = CLUSTER, key = OWN, rings = RINGS }: Made = {}) {
  const devices = [0, 1, 2].map((id) => {
    return { id, site: 's', zone: 'z', node: `n${id}`, name: 'd', weight: 100, meta: {} };
  });
  const made = Object.entries(rings).map(([policy, ringVersion]) => {
    const columns = [0, 1, 2].map((id) => Uint16Array.of(id));
    const fields = { policy: Number(policy), version: ringVersion, partPower: 0, copies: 3 };
    return new Ring({ ...fields, devices, columns, former: NO_FORMER });
  });
  const standard = { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict' } as const;
  const policies = [{ ...standard, isDefault: true }];
  const document = { hashPrefix: 'p', hashSuffix: 's', policies, nodes: [] };
  return encodeBundle({ clusterId, version, document, rings: made }, (bytes) =>
    sign(null, bytes, key.privateKey),
  );
}

/** Bytes that are given whatever the process has; or as an honest authority gives them. */
type Answer = Buffer | 'silent' | ((have: number) => Buffer | undefined);

function honest(version: number): Answer {
  return (have) => (have < version ? bundle(version) : undefined);
}

/** A process on a simulated machine; `answers` is what each authority says now. */
class Process {
  readonly world = new SimWorld({ seed: 1 });
  readonly machine: Machine = this.world.machine('node');
  readonly answers = new Map<string, Answer>([['a', bundle(5)]]);
  readonly #fetch: FetchBundle = async (authority, have) => {
    const answer = this.answers.get(authority);
    if (typeof answer === 'function') return answer(have);
    if (answer === 'silent') throw new Error('nobody there');
    return answer;
  };

  open(authorities = ['a', 'b'], attempts = 3): Promise<BundleSource> {
    const { env } = this.machine;
    const opened = BundleSource.open(
      {
        env,
        file: FILE,
        clusterId: CLUSTER,
        authorities,
        verify: (bytes, signature) => verify(null, bytes, OWN.publicKey, signature),
        fetchBundle: this.#fetch,
      },
      attempts,
    );
    return this.world.run(opened);
  }

  /** Says this from now on, for a while. */
  async say(answer: Answer): Promise<void> {
    this.answers.set('a', answer);
    await this.world.runFor(WHILE_MS);
  }
}

describe('a process', () => {
  it.each([
    ['signed by another authority', bundle(6, { key: FOREIGN }), 'bad-signature', 0],
    ['of another cluster', bundle(6, { clusterId: 'd'.repeat(32) }), 'other-cluster', 0],
    ['going back', bundle(4), 'version-back', 4],
    ['of the same version', bundle(5, { rings: { ...RINGS, 0: 9 } }), 'version-back', 5],
    ['with a ring of no policy', bundle(6, { rings: { ...RINGS, 1: 1 } }), 'ring-mismatch', 6],
    ['with a ring going back', bundle(6, { rings: { ...RINGS, 0: 2 } }), 'ring-mismatch', 6],
    ['without a ring', bundle(6, { rings: { 0: 3 } }), 'ring-mismatch', 6],
    ['that is damaged', bundle(6).subarray(1), 'malformed', 0],
  ])('refuses and reports a bundle %s, and goes on with its own', async (_, bad, code, version) => {
    const node = new Process();
    const source = await node.open(['a']);
    await node.say(bad);
    expect(source.current().version).toBe(5);
    expect(source.refused).toEqual({ version, code });
    // On disk is what is in force, also after a restart without any authority.
    source.close();
    node.answers.set('a', 'silent');
    expect((await node.open(['a'])).current().version).toBe(5);
  });

  it('asks another authority where one says what is refused, or nothing', async () => {
    const node = new Process();
    node.answers.set('b', bundle(5));
    const source = await node.open();
    node.answers.set('b', bundle(6));
    await node.say(bundle(9, { key: FOREIGN }));
    expect(source.current().version).toBe(6);
    node.answers.set('b', bundle(7));
    await node.say('silent');
    expect(source.current().version).toBe(7);
    // What is good again is no longer reported.
    await node.say(honest(8));
    expect([source.current().version, source.refused]).toEqual([8, undefined]);
  });

  it('looks at once when it hears of a newer one, and not for every word of it', async () => {
    const node = new Process();
    const source = await node.open(['a']);
    let looks = 0;
    node.answers.set('a', (have) => {
      looks++;
      return have < 6 && looks > 1 ? bundle(6) : undefined;
    });
    const hear = async (ms: number) => {
      for (let at = 0; at < ms; at++) {
        source.seek();
        await node.world.runFor(1);
      }
    };
    await hear(90);
    expect([looks, source.current().version]).toEqual([1, 5]);
    await hear(20);
    expect([looks, source.current().version]).toEqual([2, 6]);
    source.close();
    await hear(200);
    expect(looks).toBe(2);
  });

  it('begins with the first good bundle that anybody has', async () => {
    const node = new Process();
    node.answers.set('a', bundle(6, { key: FOREIGN }));
    node.answers.set('b', bundle(5));
    expect((await node.open()).current().version).toBe(5);
  });

  it('fetches what its disk has lost or damaged, and says clearly when nobody has it', async () => {
    const node = new Process();
    (await node.open()).close();
    const { disk } = node.machine.env;
    const kept = await node.world.run(disk.read(FILE));
    await node.world.run(disk.replace(FILE, kept.subarray(0, 40)));
    (await node.open()).close();
    expect((await node.world.run(disk.read(FILE))).equals(kept)).toBe(true);
    await node.world.run(disk.replace(FILE, Buffer.from('nothing of ours')));
    node.answers.set('a', 'silent');
    node.answers.set('b', 'silent');
    expect(await node.open().catch(codeOf)).toBe('no-bundle');
  });

  it('runs on its last bundle for a year without an authority', async () => {
    const node = new Process();
    const source = await node.open();
    node.answers.set('b', 'silent');
    await node.say('silent');
    source.close();
    await node.world.runFor(365 * 86_400_000);
    const again = await node.open();
    expect(again.current().version).toBe(5);
    await node.say(bundle(6));
    expect(again.current().version).toBe(6);
  });
});
