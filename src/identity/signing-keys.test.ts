import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createIdentity } from './identity.ts';
import { type IdentityFixture, startIdentity } from './testing/fixture.ts';
import { decodeToken } from './token.ts';

const DAY_MS = 24 * 3600_000;
let fixture: IdentityFixture;

beforeAll(async () => {
  fixture = await startIdentity({ keyPeriodMs: 30 * DAY_MS, tokenLifetimeMs: 12 * 3600_000 });
});
afterAll(() => fixture.close());

const logIn = async (): Promise<string> => {
  const { userId, password } = fixture.second;
  const request = { password: { user: { id: userId }, password }, address: 'x' };
  return (await fixture.identity.logIns.logIn(request)).text;
};
const keyOf = (text: string) => decodeToken(text)?.keyId;
const known = () => [...fixture.identity.directory.keys.keys()];
const maintain = async (): Promise<void> => {
  await fixture.identity.signingKeys.maintain();
  await fixture.identity.directory.changed(fixture.env.clock, 200);
};

describe('signing keys', () => {
  it('are published a day before they sign, and go when their last token has expired', async () => {
    const first = keyOf(await logIn())!;
    await maintain();
    expect(known()).toEqual([first]);
    fixture.advance(29 * DAY_MS + 1000);
    await maintain();
    expect(known()).toHaveLength(2);
    expect(keyOf(await logIn())).toBe(first);
    fixture.advance(DAY_MS);
    const text = await logIn();
    expect(keyOf(text)).not.toBe(first);
    expect(fixture.identity.verifier.verify(text).valid).toBe(true);
    fixture.advance(4 * DAY_MS);
    await maintain();
    expect(known()).toEqual([keyOf(text)]);
  });

  it('can be changed and ended at once: then no token of the old one counts', async () => {
    const old = await logIn();
    await fixture.identity.signingKeys.rotate();
    await fixture.identity.directory.changed(fixture.env.clock, 200);
    const fresh = await logIn();
    expect(keyOf(fresh)).not.toBe(keyOf(old));
    expect(fixture.identity.verifier.verify(old).valid).toBe(true);
    await fixture.identity.signingKeys.revoke(keyOf(old)!);
    await fixture.identity.directory.changed(fixture.env.clock, 200);
    expect(fixture.identity.verifier.verify(old)).toEqual({
      valid: false,
      rejected: 'unknown-key',
    });
    expect(fixture.identity.verifier.verify(fresh).valid).toBe(true);
  });

  it('are made anew when the master key was lost; tokens of the old ones still count', async () => {
    const other = await startIdentity();
    const { userId, password } = other.second;
    const request = { password: { user: { id: userId }, password }, address: 'x' };
    const old = await other.identity.logIns.logIn(request);
    const state = other.openState();
    const masterKey = Buffer.alloc(32, 8);
    const successor = createIdentity({ env: other.env, state, masterKey });
    await successor.ready;
    const fresh = await successor.logIns.logIn(request);
    expect(keyOf(fresh.text)).not.toBe(keyOf(old.text));
    expect(successor.verifier.verify(old.text).valid).toBe(true);
    expect(
      await successor.s3Keys.check(other.second.access, Buffer.from('x'), 'y').catch((e) => e.code),
    ).toBe('cannot-unseal');
    await successor.close();
    await state.close();
    await other.close();
  });

  it('are the same at every identity service, also when several start at once', async () => {
    const masterKey = Buffer.alloc(32, 7);
    const states = [fixture.openState(), fixture.openState()];
    const others = states.map((state) => createIdentity({ env: fixture.env, state, masterKey }));
    await Promise.all(others.map(({ ready }) => ready));
    for (const other of others) {
      const { userId, password } = fixture.second;
      const request = { password: { user: { id: userId }, password }, address: 'x' };
      const { text } = await other.logIns.logIn(request);
      expect(fixture.identity.verifier.verify(text).valid).toBe(true);
      expect(other.signingKeys.current().id).toBe(fixture.identity.signingKeys.current().id);
    }
    for (const other of others) await other.close();
    for (const state of states) await state.close();
  });
});
