/**
 * An hour without state, over midnight, on virtual time: at a proxy all that it has seen goes on, also
 * over a power failure; log-ins are told when to try again, and come back by themselves.
 */
import { expect, it } from 'vitest';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import { dayOf } from '#auth/s3-key-cache.ts';
import { OperatingError } from '#base/errors.ts';
import { SimWorld } from '#env/sim/world.ts';
import { bootstrap } from '#identity/bootstrap.ts';
import { createIdentity } from '#identity/identity.ts';
import { MASTER_KEY_BYTES } from '#identity/vault.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import { BreakableState } from '#state/testing/breakable-state.ts';
import { createKeystoneApp } from './app.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HALF_PAST_EIGHT = Date.UTC(2026, 4, 1, 20, 30);
const SEED = 1;

it('an hour without identity: what a proxy has seen goes on, log-ins wait and recover', async () => {
  const world = new SimWorld({ seed: SEED, startWallMs: HALF_PAST_EIGHT });
  const servers = world.machine('identity');
  const proxyMachine = world.machine('proxy');

  const main = async (): Promise<void> => {
    const { env } = servers;
    await env.disk.mkdir('/data');
    const state = new BreakableState(openSqliteState(env, '/data/state.db'), env.clock);
    const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 5);
    const identity = createIdentity({ env, state, masterKey });
    await bootstrap(identity, []);
    const { access, token } = await makeUser(identity);
    let away = false;
    const fetchS3Key: Parameters<typeof createAuthenticator>[0]['fetchS3Key'] = async (request) => {
      if (away) throw new OperatingError('state-unavailable', 'identity is away');
      return identity.s3Keys.issue(request);
    };
    const start = async (): Promise<ProxyAuthenticator> => {
      const made = createAuthenticator({
        ...{ env: proxyMachine.env, state, fetchS3Key },
        cacheDir: '/cache',
      });
      await made.ready;
      return made;
    };
    const app = createKeystoneApp({ identity, log: env.log, sites: () => [] });
    const logIn = async (): Promise<Response> => {
      const auth = { identity: { methods: ['token'], token: { id: token } } };
      return app.request('/v3/auth/tokens', { method: 'POST', body: JSON.stringify({ auth }) });
    };
    const nowMs = (): number => env.clock.wallMicros() / 1000;
    const s3Key = (proxy: ProxyAuthenticator) =>
      proxy.findS3Key({ access, day: dayOf(nowMs()), region: 'lngs', service: 's3' });
    const serves = async (proxy: ProxyAuthenticator): Promise<void> => {
      expect((await proxy.authenticate({ 'x-auth-token': token })).kind).toBe('user');
      expect((await s3Key(proxy))?.caller.userName).toBe('anna');
    };

    let proxy = await start();
    await serves(proxy);
    expect((await logIn()).status).toBe(201);
    await env.clock.sleep(2 * MINUTE);
    for (const machine of [servers, proxyMachine]) machine.jumpWallClock(178 * MINUTE);

    state.break();
    away = true;
    await env.clock.sleep(10 * SECOND);
    for (let minute = 0; minute < 60; minute++) {
      await serves(proxy);
      const answer = await logIn();
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
      if (minute === 20) {
        proxyMachine.crash();
        proxyMachine.restart();
        proxy = await start();
      }
      await env.clock.sleep(MINUTE);
    }
    expect(dayOf(nowMs())).toBe('20260502');

    state.mend();
    away = false;
    await env.clock.sleep(2 * SECOND);
    expect((await logIn()).status).toBe(201);
    await serves(proxy);
    const caller = identity.verifier.verify(token);
    if (!caller.valid) throw new Error('the token is no longer known');
    await identity.revoke({ kind: 'audit', id: caller.token.fields.auditId });
    await env.clock.sleep(2 * SECOND);
    expect(await proxy.authenticate({ 'x-auth-token': token })).toMatchObject({
      rejected: 'revoked',
    });
    await proxy.close();
    await identity.close();
    await state.close();
  };
  await world.run(main());
});

/** Without a password: its check is real work of a real thread, which has no place in virtual time. */
async function makeUser(identity: ReturnType<typeof createIdentity>) {
  const project = await identity.projects.create({ name: 'photos' });
  const user = await identity.users.create({ name: 'anna', defaultProjectId: project.id });
  const role = await identity.roles.find('member');
  await identity.grants.add({
    actor: { kind: 'user', id: user.id },
    target: { kind: 'project', id: project.id },
    ...{ roleId: role!.id, inherited: false },
  });
  const owner = { userId: user.id, projectId: project.id };
  const { access } = await identity.credentials.createKeyPair(owner);
  const issued = await identity.logIns.byKeyPair(owner);
  return { access, token: issued!.text };
}
