/** A backup, and what becomes of it: on the same cluster, on a lost store, with nodes that know more. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { collectBackup } from './backup.ts';
import { type Backup, decodeBackup, encodeBackup } from './backup-format.ts';
import { restoreBackup } from './restore.ts';
import {
  type AuthorityFixture,
  openAuthority,
  plainSealer,
  startFixture,
} from './testing/fixture.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/backup');

interface Parts extends AuthorityFixture {
  readonly world: SimWorld;
}

function withAuthority(test: (parts: Parts) => Promise<void>) {
  return async (): Promise<void> => {
    const world = new SimWorld({ seed: 1 });
    await world.run(startFixture(world).then((fixture) => test({ ...fixture, world })));
  };
}

function collect({ authority, world }: Parts): Promise<Backup> {
  return collectBackup(authority.state, world.machine('authority').env.clock);
}

/** On a machine of its own, as after a fire. */
async function restore(
  { world }: Parts,
  backup: Backup,
  last?: ClusterView,
  { state, replace = false }: { state?: State; replace?: boolean } = {},
) {
  const { env } = world.machine('restored');
  await env.disk.mkdir('/data');
  const into = state ?? openSqliteState(env, '/data/state.db');
  const options = { env, state: into, sealer: plainSealer, backup, last, replace };
  return { state: into, ...(await restoreBackup({ ...options, without: ['identity/gone/'] })) };
}

async function drain({ ask }: Parts, node: string): Promise<void> {
  const { plan } = await ask('POST', '/v1/rings/plan', { request: { drain: [node] } });
  await ask('POST', '/v1/rings/apply', { plan });
}

describe('a backup', () => {
  it(
    'has all that lasts, of one moment, and nothing that does not',
    withAuthority(async (parts) => {
      const { state } = parts.authority;
      for (let n = 0; n < 120; n += 1) {
        const puts = Array.from({ length: 100 }, (_, i) => {
          const key = `identity/many/${String(n * 100 + i).padStart(6, '0')}`;
          return { kind: 'put' as const, key, value: Buffer.from([n]) };
        });
        await state.txn({ success: puts });
      }
      const lease = await state.grantLease(60);
      const value = Buffer.from('x');
      await state.txn({ success: [{ kind: 'put', key: 'authority/leader', value, lease }] });
      await state.txn({ success: [{ kind: 'put', key: 'authority/processes/x', value }] });
      const backup = decodeBackup(encodeBackup(await collect(parts)));
      const keys = backup.items.map(([key]) => key);
      expect(keys.filter((key) => key.startsWith('identity/many/'))).toHaveLength(12_000);
      expect(keys).toContain('authority/head');
      expect(keys).not.toContain('authority/leader');
      expect(keys).not.toContain('authority/processes/x');
      expect(keys.toSorted()).toEqual(keys);
    }),
  );

  it(
    'on an empty store is the cluster again, above what the nodes know',
    withAuthority(async (parts) => {
      const backup = await collect(parts);
      const last = await parts.view();
      const restored = await restore(parts, backup, last);
      expect(restored).toMatchObject({ version: expect.any(Number), adopted: [], joinedSince: [] });
      expect(restored.version).toBeGreaterThan(last.version);
      const authority = await openAuthority(parts.world.machine('restored'));
      const { head, set, nodes } = await authority.store.snapshot();
      expect(head.version).toBe(restored.version);
      expect([...nodes.keys()].sort()).toEqual([...last.nodes.keys()].sort());
      const before = (await parts.authority.store.snapshot()).head;
      expect(head.nextWorkerId).toBeGreaterThan(before.nextWorkerId);
      for (const [policy, ring] of set.rings())
        expect(ring.version).toBe(last.rings.get(policy)!.version);
    }),
  );

  it(
    'older than the rings goes on with those that the nodes have',
    withAuthority(async (parts) => {
      const backup = await collect(parts);
      await drain(parts, 'bari/bari-2');
      const last = await parts.view();
      const { version, adopted } = await restore(parts, backup, last);
      expect(version).toBeGreaterThan(last.version);
      expect(adopted).toContain(`object/standard version ${last.rings.get(0)!.version}`);
      const { set } = await (await openAuthority(parts.world.machine('restored'))).store.snapshot();
      for (const [policy, ring] of set.rings())
        expect(ring.encode()).toEqual(last.rings.get(policy)!.encode());
      expect(set.disagreement()).toBeUndefined();
    }),
  );

  it(
    'keeps expelled who was expelled after it was made',
    withAuthority(async (parts) => {
      const backup = await collect(parts);
      await parts.ask('POST', '/v1/nodes/bari-2/expel', {});
      await restore(parts, backup, await parts.view());
      const authority = await openAuthority(parts.world.machine('restored'));
      expect((await authority.store.snapshot()).nodes.get('bari-2')!.expelled).toBe(true);
    }),
  );

  it(
    'is refused by a store that is in use, and by the wrong master key before anything is touched',
    withAuthority(async (parts) => {
      const backup = await collect(parts);
      const { state } = await restore(parts, backup);
      const again = (replace: boolean) => restore(parts, backup, undefined, { state, replace });
      expect(await again(false).catch(codeOf)).toBe('not-empty');
      expect((await again(true)).keys).toBe(backup.items.length);
      const { env } = parts.world.machine('restored');
      const sealer = {
        ...plainSealer,
        open: () => {
          throw new Error('not this key');
        },
      };
      const options = { env, state, sealer, backup, last: undefined, without: [], replace: true };
      expect(await restoreBackup(options).catch(codeOf)).toBe('cannot-unseal');
      expect(await state.get('authority/cluster')).toBeDefined();
      const lease = await state.grantLease(60);
      const value = Buffer.from('somebody');
      await state.txn({ success: [{ kind: 'put', key: 'authority/leader', value, lease }] });
      expect(await again(true).catch(codeOf)).toBe('authority-runs');
    }),
  );
});

describe('the file of a backup', () => {
  it('of version 1 stays readable, a newer one is refused as that', () => {
    const backup = decodeBackup(readFileSync(path.join(GOLDEN, 'v1/small.backup')));
    expect(backup).toMatchObject({ clusterId: 'c'.repeat(32), madeMs: 1_800_000_000_000 });
    expect(backup.items.map(([key, value]) => [key, Buffer.from(value).toString()])).toEqual([
      ['authority/cluster', 'not a real record'],
      ['identity/public/user/ü', '\0\u0001'],
    ]);
    const read = () => decodeBackup(readFileSync(path.join(GOLDEN, 'newer/small.backup')));
    expect(read).toThrow(expect.objectContaining({ code: 'newer-format' }));
  });

  it('that was cut off or damaged anywhere is refused', () => {
    const file = readFileSync(path.join(GOLDEN, 'v1/small.backup'));
    for (let length = 0; length < file.length; length += 7)
      expect(() => decodeBackup(file.subarray(0, length))).toThrow();
    for (let at = 0; at < file.length; at += 1) {
      const damaged = Buffer.from(file);
      damaged[at]! ^= 0x10;
      expect(() => decodeBackup(damaged), `byte ${at}`).toThrow();
    }
  });
});
