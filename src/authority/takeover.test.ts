/** Several authorities on one state store, and an authority that dies at any step of a change. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { SimWorld } from '#env/sim/world.ts';
import { createAuthorityApp } from './app.ts';
import type { Authority } from './authority.ts';
import { published } from './publisher.ts';
import { openAuthority, startFixture, viewOf } from './testing/fixture.ts';
import { Mortal } from './testing/mortal.ts';

/** Whatever happened, what is in force is whole: bundle, rings, builders and history agree. */
async function expectWhole(authority: Authority): Promise<number> {
  const { head, set, nodes } = await authority.store.snapshot();
  const view = await viewOf(authority);
  expect(view.version).toBe(head.version);
  expect((await published(authority.state)).version).toBe(head.version);
  for (const [policy, ring] of set.rings())
    expect(view.rings.get(policy)!.encode()).toEqual(ring.encode());
  const members = [...nodes.values()].filter(({ expelled }) => !expelled);
  expect([...view.nodes.keys()].sort()).toEqual(members.map(({ name }) => name).sort());
  expect((await authority.store.history(1))[0]!.version).toBe(head.version);
  return head.version;
}

describe('an authority that dies', () => {
  it('at any step of any change leaves it done or not begun, and another goes on', async () => {
    const world = new SimWorld({ seed: 1 });
    await world.run(
      (async () => {
        const { authority: survivor } = await startFixture(world);
        const machine = world.machine('authority');
        const { plan } = await survivor.rings.plan({
          kind: 'request',
          request: { ...NO_CHANGE, drain: ['bari-1'] },
        });
        const changes: ((authority: Authority) => Promise<unknown>)[] = [
          (authority) => authority.rings.apply(plan, { who: 'test' }),
          (authority) => authority.rings.settle(0, new Map()),
          (authority) => authority.rings.pause(true, 'test'),
          (authority) => authority.members.expel('padova-2', 'test'),
          (authority) => authority.rings.undo('test'),
        ];
        let deaths = 0;
        for (const change of changes) {
          for (let step = 0; step < 20; step += 1) {
            const mortal = new Mortal();
            const victim = await openAuthority(machine, {
              wrap: mortal.wrap,
              address: 'https://b',
            });
            mortal.dieAt(step, step % 2 === 1);
            const before = await expectWhole(survivor);
            const outcome = await change(victim).then(() => 'done', codeOf);
            const after = await expectWhole(survivor);
            expect(after - before).toBeLessThanOrEqual(1);
            if (outcome !== 'dead') break;
            deaths += 1;
            if (after > before) break;
          }
        }
        expect(deaths).toBeGreaterThan(8);
        // Whatever of it was done: a further change works, and settles.
        await survivor.rings.pause(false, 'test');
        for (let turn = 0; turn < 3; turn += 1) await survivor.conductor.step();
        expect((await survivor.store.snapshot()).set.joint).toBe(0);
        await expectWhole(survivor);
      })(),
    );
  });

  it('is followed by another that takes the lease and finishes the ring change', async () => {
    const world = new SimWorld({ seed: 2 });
    await world.run(
      (async () => {
        const { authority: first } = await startFixture(world);
        const machine = world.machine('authority');
        const second = await openAuthority(machine, { address: 'https://second:7600' });
        await second.leadership.start();
        expect([first.leadership.leads, second.leadership.leads]).toEqual([true, false]);
        const wish = { kind: 'request' as const, request: { ...NO_CHANGE, drain: ['lngs-1'] } };
        const { plan } = await second.rings.plan(wish);
        await first.rings.apply(plan, { who: 'test' });
        await second.conductor.step();
        expect((await second.store.snapshot()).set.joint).toBeGreaterThan(0);
        // Without a word: its lease ends by itself.
        await first.leadership.stop();
        await machine.env.clock.sleep(15_000);
        expect(second.leadership.leads).toBe(true);
        await second.conductor.step();
        expect((await second.store.snapshot()).set.joint).toBe(0);
        await second.leadership.stop();
      })(),
    );
  });

  it('two that change at once publish two versions, never one twice', async () => {
    const world = new SimWorld({ seed: 3 });
    await world.run(
      (async () => {
        const { authority: first } = await startFixture(world);
        const second = await openAuthority(world.machine('authority'), { address: 'https://b' });
        const { version } = await first.store.head();
        const versions = await Promise.all([
          first.rings.pause(true, 'first'),
          second.rings.pause(false, 'second'),
          first.members.expel('bari-1', 'first'),
          second.members.expel('bari-2', 'second'),
        ]);
        expect(versions.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4].map((n) => version + n));
        await expectWhole(first);
      })(),
    );
  });

  it('any authority answers reads; a change is sent to the leader', async () => {
    const world = new SimWorld({ seed: 4 });
    await world.run(
      (async () => {
        const { operator } = await startFixture(world);
        const second = await openAuthority(world.machine('authority'), { address: 'https://b' });
        await second.leadership.start();
        const app = createAuthorityApp({
          authority: second,
          log: world.machine('authority').env.log,
          credentials: (context) => ({
            authorization: context.req.header('authorization'),
            certificate: undefined,
          }),
          nodeSecret: undefined,
          secrets: () => ({}),
          objectKeys: {
            list: async () => [],
            make: async () => ({ id: '', name: '', createdMs: 0 }),
          },
          directory: async () => undefined,
        });
        const headers = { authorization: `Bearer ${operator}` };
        expect((await app.request('/v1/status', { headers })).status).toBe(200);
        const change = await app.request('/v1/rings/undo', { method: 'POST', headers, body: '{}' });
        expect(change.status).toBe(307);
        expect(change.headers.get('location')).toBe('https://first:7600/v1/rings/undo');
      })(),
    );
  });
});

const NO_CHANGE = { addDevice: [], setWeight: [], drain: [], remove: [], replicas: [] };
