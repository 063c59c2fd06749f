/**
 * A proxy worker: a process of its own that shares the proxy's port with its siblings (node's cluster
 * module) and reaches every storage node, its own machine's too, over the wire.
 */
import { flushCompileCache } from 'node:module';
import { loadNodeConfig } from '#authority/joining.ts';
import { Reporter } from '#authority/reporter.ts';
import { messageOf } from '#base/errors.ts';
import { joinRequests } from '#env/node/https-client.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { JobRunner } from '#worker/runner.ts';
import { createAdminApp } from './admin-app.ts';
import { layFoundation } from './foundation.ts';
import { serveHttp } from './http-server.ts';
import { startIdentity } from './identity.ts';
import { NodeCertificate } from './node-certificate.ts';
import { openNodeState } from './node-state.ts';
import { startProxy } from './proxy.ts';
import { processReport, sendReport } from './report.ts';
import { processStatus } from './status.ts';

const REQUEST_GRACE_MS = 5000;

async function main(configFile: string, number: number): Promise<void> {
  const { disk } = createNodeEnv({ logLevel: 'warn' });
  const config = await loadNodeConfig(configFile, { disk, ...joinRequests });
  const certificate = NodeCertificate.open(config);
  const foundation = await layFoundation(config, number, certificate);
  const { env, registry, cluster, ask } = foundation;
  const state = openNodeState(env, config);
  const identity = await startIdentity(foundation, state);
  const proxy = await startProxy(foundation, state, identity);
  const admin = createAdminApp({
    registry,
    healthy: () => true,
    status: () => processStatus(foundation, undefined, proxy),
    trace: (txn) => proxy.trace(txn),
  });
  const adminPort = config.listen.workerAdmin[number - 1];
  if (adminPort !== undefined)
    await serveHttp({ host: config.listen.host, port: adminPort }, { app: admin });
  const reporter = new Reporter({
    env,
    cluster,
    authorities: () => cluster.authorities(),
    report: () => processReport(foundation, undefined, undefined),
    send: (authority, report) => sendReport(ask, authority, report),
  });
  const keeper = certificate && new JobRunner(env, certificate.keeper(env, ask, false));
  const stop = (): void => {
    reporter.stop();
    void keeper?.stop();
    proxy
      .close(REQUEST_GRACE_MS)
      .then(() => foundation.wire.close(0))
      .then(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('disconnect', stop);
  process.send?.({ kind: 'ready' });
  // Written only at exit otherwise, which a killed process never reaches: the next start would be slow.
  flushCompileCache();
}

main(
  process.env['ANELLO_CONFIG'] ?? 'node.yaml',
  Number(process.env['ANELLO_WORKER'] ?? '1'),
).catch((error) => {
  console.error(`anello proxy worker: ${messageOf(error)}`);
  process.exit(1);
});
