/** Lock-outs at several identity services on one state, and over their restarts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { State } from '#state/state.ts';
import { createIdentity, type Identity } from './identity.ts';
import type { LogInRequest } from './log-in-request.ts';
import { type IdentityFixture, startIdentity } from './testing/fixture.ts';
import { MASTER_KEY_BYTES } from './vault.ts';

const ATTEMPTS = 10;
/** What was counted is written after the answer. */
const SOON = { timeout: 60_000, interval: 10 };
let fixture: IdentityFixture;
const others: { readonly identity: Identity; readonly state: State }[] = [];

beforeAll(async () => {
  fixture = await startIdentity();
});
afterAll(async () => {
  for (const other of others) await stop(other);
  await fixture.close();
});

/** Another process, or the same one after a restart. */
async function start(): Promise<(typeof others)[number]> {
  const state = fixture.openState();
  const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 7);
  const identity = createIdentity({
    env: fixture.env,
    state,
    masterKey,
    settings: { passwordLn: 8 },
  });
  await identity.ready;
  return { identity, state };
}

async function stop({ identity, state }: (typeof others)[number]): Promise<void> {
  await identity.close();
  await state.close();
}

const attempt = (password: string, address: string, id = fixture.second.userId): LogInRequest => ({
  password: { user: { id }, password },
  address,
});

async function outcome(identity: Identity, request: LogInRequest): Promise<string> {
  return identity.logIns.logIn(request).then(
    () => 'in',
    (error: { code: string }) => error.code,
  );
}

describe('a lock-out', () => {
  it('holds at every service, over a restart, and ends', async () => {
    const [first, second] = [await start(), await start()];
    others.push(second);
    const right = attempt(fixture.second.password, '192.0.2.50');
    for (let i = 0; i < ATTEMPTS; i++) {
      // Guessing at two services is not guessing twice as much.
      const { identity } = i % 2 === 0 ? first : second;
      expect(await outcome(identity, attempt('guess', '192.0.2.50'))).toBe('unauthorized');
      const failures = async () =>
        (await fixture.identity.context.store.lockOuts.list()).map(({ fields }) => fields.failures);
      await expect.poll(failures, SOON).toContain(i + 1);
    }
    await stop(first);
    const again = await start();
    others.push(again);
    for (const { identity } of [second, again, fixture]) {
      const locked = async () =>
        (await identity.context.store.lockOuts.list()).some(
          ({ fields }) => fields.failures === ATTEMPTS && fields.lockedUntilMs !== undefined,
        );
      await expect.poll(locked, SOON).toBe(true);
      expect(await outcome(identity, right)).toBe('too-many-attempts');
      const elsewhere = attempt(fixture.second.password, '192.0.2.51');
      expect(await outcome(identity, elsewhere)).toBe('in');
    }
    const refusal = await again.identity.logIns.logIn(right).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ facts: { retryAfterSeconds: expect.any(Number) } });
    fixture.advance(301_000);
    for (const { identity } of [second, again]) expect(await outcome(identity, right)).toBe('in');
  });

  it('of who does not exist is the same to the eye, but is not kept in state', async () => {
    const { identity } = fixture;
    const nobody = attempt('guess', '192.0.2.60', '0'.repeat(32));
    const before = (await identity.context.store.lockOuts.list()).length;
    for (let i = 0; i < ATTEMPTS; i++) expect(await outcome(identity, nobody)).toBe('unauthorized');
    expect(await outcome(identity, nobody)).toBe('too-many-attempts');
    await fixture.env.clock.sleep(100);
    // Those of others may end meanwhile.
    expect((await identity.context.store.lockOuts.list()).length).toBeLessThanOrEqual(before);
  });

  it('of a user comes from many addresses too, and of an address from many users', async () => {
    const { identity } = fixture;
    const { userId } = fixture.admin;
    for (let i = 0; i < 100; i++)
      await outcome(identity, attempt('guess', `198.51.100.${i % 50}`, userId));
    const right = attempt(fixture.admin.password, '203.0.113.1', userId);
    expect(await outcome(identity, right)).toBe('too-many-attempts');
    for (let i = 0; i < 300; i++) {
      await outcome(identity, attempt('guess', '203.0.113.9', i.toString(16).padStart(32, '0')));
    }
    const another = attempt(fixture.second.password, '203.0.113.9');
    expect(await outcome(identity, another)).toBe('too-many-attempts');
  });
});
