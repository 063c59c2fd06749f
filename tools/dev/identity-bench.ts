/**
 * Identity's figures: `node tools/dev/identity-bench.ts [sqlite|etcd]`. Tokens from a token, in the process
 * and through the HTTP API (whose client runs in another process), and verification at a proxy. CPU is
 * what counts on a machine that others use too.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { createKeystoneApp } from '#api/keystone/app.ts';
import { bootstrap } from '#identity/bootstrap.ts';
import { createIdentity } from '#identity/identity.ts';
import { startIdentity } from '#identity/testing/fixture.ts';
import { TokenVerifier } from '#identity/token-verifier.ts';
import { MASTER_KEY_BYTES } from '#identity/vault.ts';
import { openEtcdState } from '#state/etcd-state.ts';
import { EtcdCluster } from '#state/testing/etcd-cluster.ts';

const SECONDS = 4;
const CONCURRENCY = 32;

/** Runs `act` on several strands for a while. */
async function measure(name: string, act: () => Promise<unknown>): Promise<void> {
  const warm = performance.now() + 500;
  while (performance.now() < warm) await act();
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  let done = 0;
  const strand = async (): Promise<void> => {
    while (performance.now() - start < SECONDS * 1000) {
      await act();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, strand));
  report(name, done, (performance.now() - start) / 1000, process.cpuUsage(cpu));
}

function report(name: string, done: number, seconds: number, cpu: NodeJS.CpuUsage): void {
  const micros = (cpu.user + cpu.system) / done;
  const perCore = Math.round(1e6 / micros);
  console.log(
    `${name}: ${Math.round(done / seconds)}/s, ${micros.toFixed(1)} us of CPU (${perCore}/s of one core)`,
  );
}

/** The client's share of the work is not identity's: it asks from a process of its own. */
async function askFromOutside(name: string, url: string, token: string): Promise<void> {
  const auth = { identity: { methods: ['token'], token: { id: token } } };
  const code = `
    import { Agent, request } from 'node:http';
    const agent = new Agent({ keepAlive: true, maxSockets: ${CONCURRENCY} });
    const body = ${JSON.stringify(JSON.stringify({ auth }))};
    const end = performance.now() + ${SECONDS * 1000};
    let done = 0, failed = 0;
    const ask = () => new Promise((resolve) => {
      const sent = request('${url}/v3/auth/tokens?nocatalog', { agent, method: 'POST' }, (r) => {
        r.statusCode === 201 ? done++ : failed++; r.resume(); r.on('end', resolve);
      });
      sent.end(body);
    });
    const strand = async () => { while (performance.now() < end) await ask(); };
    await Promise.all(Array.from({ length: ${CONCURRENCY} }, strand));
    console.log(JSON.stringify({ done, failed }));
    agent.destroy();`;
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const child = spawn(process.execPath, ['--input-type=module', '-e', code]);
  let text = '';
  child.stdout.on('data', (part) => (text += part));
  await new Promise((resolve) => child.once('close', resolve));
  const { done, failed } = JSON.parse(text) as { done: number; failed: number };
  report(
    `${name} (${failed} failed)`,
    done,
    (performance.now() - start) / 1000,
    process.cpuUsage(cpu),
  );
}

async function main(driver: string): Promise<void> {
  const fixture = await startIdentity();
  const cluster = driver === 'etcd' ? await EtcdCluster.start() : undefined;
  const state =
    cluster === undefined
      ? fixture.openState()
      : openEtcdState(fixture.env, { endpoints: cluster.endpoints, fetch });
  const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 7);
  const identity = createIdentity({ env: fixture.env, state, masterKey });
  const [, account] = await bootstrap(identity);
  const { userId, projectId, password } = account!;
  const scope = { kind: 'project' as const, id: projectId };
  const { text: token } = await identity.logIns.logIn({
    ...{ password: { user: { id: userId }, password }, scope, address: 'bench' },
  });
  const { clock, log } = fixture.env;
  const cached = identity.verifier;
  await measure('token verified, cached', async () => {
    for (let i = 0; i < 1000; i++) cached.verify(token);
  });
  console.log('  (a thousand each)');
  await measure('token verified, not cached', async () =>
    new TokenVerifier(clock, identity.directory).verify(token),
  );
  await measure('token from a token', () =>
    identity.logIns.logIn({ token, scope, address: 'bench' }),
  );
  const app = createKeystoneApp({ identity, log, sites: () => [] });
  const server = createServer(getRequestListener(app.fetch)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await askFromOutside('  (warming up)', url, token);
  await askFromOutside('token from a token, by HTTP', url, token);
  server.closeAllConnections();
  server.close();
  await identity.close();
  await state.close();
  await cluster?.stop();
  await fixture.close();
}

await main(process.argv[2] ?? 'sqlite');
