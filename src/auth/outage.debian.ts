/** Three identity services on three etcd members: what goes on when some, or all, of them die. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { bootstrap, type ReadyAccount } from '#identity/bootstrap.ts';
import { createIdentity, type Identity } from '#identity/identity.ts';
import type { LogInRequest } from '#identity/log-in-request.ts';
import { MASTER_KEY_BYTES } from '#identity/vault.ts';
import { openEtcdState } from '#state/etcd-state.ts';
import type { State } from '#state/state.ts';
import { EtcdCluster, hasEtcd } from '#state/testing/etcd-cluster.ts';
import { createAuthenticator } from './authenticator.ts';

const required = process.env['CI'] === 'true';
/** Electing a leader takes a second; on a machine that has much to do, several. */
const DEADLINE_MS = 8_000;
const EVENTUALLY_MS = 60_000;
/** Log-ins that must succeed while a member is dead. */
const ENOUGH = 40;

describe.skipIf(!hasEtcd && !required)('identity at three sites', () => {
  const env = createNodeEnv({ logLevel: 'silent' });
  const folder = mkdtempSync(join(tmpdir(), 'anello-outage-'));
  const states: State[] = [];
  const services: Identity[] = [];
  let cluster: EtcdCluster;
  let account: ReadyAccount;

  beforeAll(async () => {
    cluster = await EtcdCluster.start();
    const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 3);
    for (let i = 0; i < 3; i++) {
      const near = [...cluster.endpoints.slice(i), ...cluster.endpoints.slice(0, i)];
      const state = openEtcdState(env, {
        endpoints: near,
        fetch,
        attemptMs: 1000,
        deadlineMs: DEADLINE_MS,
      });
      states.push(state);
      services.push(createIdentity({ env, state, masterKey, settings: { passwordLn: 8 } }));
    }
    const [, second] = await bootstrap(services[0]!);
    account = second!;
    await Promise.all(services.map(({ ready }) => ready));
  });
  afterAll(async () => {
    for (const service of services) await service.close();
    for (const state of states) await state.close();
    await cluster.stop();
    await env.close();
    rmSync(folder, { recursive: true });
  });

  const request = (): LogInRequest => ({
    password: { user: { id: account.userId }, password: account.password },
    address: 'test',
  });

  it('logs in a user at one service that was made at another a moment before', async () => {
    const { users, projects, grants, roles } = services[1]!;
    const user = await users.create({ name: 'fresh', password: 'password' });
    const project = await projects.create({ name: 'fresh' });
    const roleId = (await roles.find('member'))!.id;
    const grant = {
      actor: { kind: 'user', id: user.id },
      target: { kind: 'project', id: project.id },
    } as const;
    await grants.add({ ...grant, roleId, inherited: false });
    const domain = { id: 'default' };
    const { fields } = await services[2]!.logIns.logIn({
      password: { user: { name: 'fresh', domain }, password: 'password' },
      scope: { kind: 'project', name: 'fresh', domain },
      address: 'test',
    });
    expect(fields.userId).toBe(user.id);
  });

  it('fails no log-in while any one member of etcd dies and comes back', async () => {
    let [stop, done] = [false, 0];
    const failures: string[] = [];
    const client = async (service: Identity): Promise<void> => {
      while (!stop) {
        await service.logIns.logIn(request()).then(
          () => (done += 1),
          (error: unknown) => failures.push(codeOf(error)),
        );
        await env.clock.sleep(5);
      }
    };
    const clients = services.map(client);
    for (const member of [await cluster.leader(), 0, 1]) {
      cluster.kill(member);
      const goal = done + ENOUGH;
      while (done < goal && failures.length === 0) await env.clock.sleep(20);
      cluster.restart(member);
      await cluster.ready();
    }
    stop = true;
    await Promise.all(clients);
    expect(failures).toEqual([]);
  });

  it('without any member: tokens go on, log-ins say unavailable, and come back by themselves', async () => {
    const { text } = await services[0]!.logIns.logIn(request());
    const cacheDir = join(folder, 'proxy');
    const proxy = createAuthenticator({ env, state: states[0]!, cacheDir });
    await proxy.ready;
    for (const member of [0, 1, 2]) cluster.kill(member);
    // For some seconds it goes on from memory.
    const outcome = () => services[0]!.logIns.logIn(request()).then(() => 'logged in', codeOf);
    let last = await outcome();
    for (const end = performance.now() + EVENTUALLY_MS; performance.now() < end; ) {
      if (last !== 'logged in') break;
      await env.clock.sleep(100);
      last = await outcome();
    }
    expect(last).toBe('state-unavailable');
    expect((await proxy.authenticate({ 'x-auth-token': text })).kind).toBe('user');
    const restarted = createAuthenticator({ env, state: states[1]!, cacheDir });
    await proxy.close();
    await restarted.ready;
    expect((await restarted.authenticate({ 'x-auth-token': text })).kind).toBe('user');
    await restarted.close();
    for (const member of [0, 1, 2]) cluster.restart(member);
    await cluster.ready();
    for (const service of services) {
      const again = await until(() => service.logIns.logIn(request()));
      expect(service.verifier.verify(again.text).valid).toBe(true);
    }
  });

  async function until<Result>(act: () => Promise<Result>): Promise<Result> {
    const deadline = performance.now() + EVENTUALLY_MS;
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await env.clock.sleep(100);
      }
    }
  }
});
