/** The proxy role: the object APIs and, on the same port, identity's. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Counter, Histogram, type Registry } from 'prom-client';
import { isFailure } from '#api/http/answer.ts';
import type { FinishedRequest } from '#api/http/finished-request.ts';
import { originBehind } from '#api/http/origin.ts';
import { createS3Handler, type S3Signers } from '#api/s3/handler.ts';
import { createSwiftHandler } from '#api/swift/handler.ts';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import type { AskDirectory } from '#auth/directory-relay.ts';
import { OperatingError } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { Env } from '#env/env.ts';
import { Outside } from '#env/node/outside.ts';
import { openNews } from '#identity/directory-news.ts';
import type { Identity } from '#identity/identity.ts';
import { ObjectKeyFile } from '#identity/object-key-file.ts';
import { ObjectKeys } from '#identity/object-keys.ts';
import { BucketNames } from '#proxy/bucket-names.ts';
import { Fairness } from '#proxy/fairness/fairness.ts';
import { Sweeper } from '#proxy/multipart/sweeper.ts';
import { notifyingStore } from '#proxy/notification/notifying-store.ts';
import { createProxy } from '#proxy/proxy.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { State } from '#state/state.ts';
import { JobRunner } from '#worker/runner.ts';
import { fetchNewer } from './authority-client.ts';
import { connectionLimits } from './descriptors.ts';
import { type Foundation, signedByAuthority } from './foundation.ts';
import { type HttpListener, serveHttp } from './http-server.ts';
import type { IdentityRole } from './identity.ts';
import { keepPublicTls, publicTls } from './public-tls.ts';
import { Readiness } from './readiness.ts';

/** Clients that keep connections find theirs answered once more before it is closed. */
const LINGER_MS = 1_500;

export interface ProxyRole {
  readonly listener: HttpListener;
  readonly trace: (txn: string) => unknown;
  readonly status: () => unknown;
  close(graceMs: number): Promise<void>;
}

export async function startProxy(
  foundation: Foundation,
  state: State,
  { app, identity, objects }: IdentityRole,
): Promise<ProxyRole> {
  const { env, config, clock, cluster, wire, registry, name } = foundation;
  const { refuseTokensAfterMinutes: refuseAfterMinutes } = config.identity;
  const cacheDir = path.join(config.data, 'cache', name.replace('/', '-'));
  const authenticator = createAuthenticator({
    env,
    state,
    cacheDir,
    fetchS3Key: (request) => identity.s3Keys.issue(request),
    relay: directoryRelay(foundation),
    ...(refuseAfterMinutes !== undefined && { refuseAfterMs: refuseAfterMinutes * 60_000 }),
  });
  await authenticator.ready;
  const keys = new ObjectKeys(
    { env, state, vault: identity.context.vault },
    new ObjectKeyFile(env, path.join(cacheDir, 'object-keys.bin')),
  );
  await keys.start();
  const proxy = createProxy({
    env,
    wire,
    cluster,
    self: { node: name, site: config.site },
    clock,
    registry,
    keys,
  });
  const versioned = withVersions(proxy, env);
  objects.store = versioned;
  const store = notifyingStore(versioned, { env, region: config.site });
  const outside = new Outside(() => cluster.current().settings?.webhooks ?? []);
  const readiness = new Readiness({ env, wire, cluster });
  readiness.start();
  const names = new BucketNames(env, state);
  const fairness = new Fairness({
    clock: env.clock,
    headersOf: (account) => proxy.accountHeaders(account),
  });
  const finished = requestReport(env, registry);
  const swift = createSwiftHandler({
    store,
    authenticator,
    env,
    clusterName: config.site,
    version: VERSION,
    healthy: () => readiness.isReady && !isDrained(config),
    names,
    fairness,
    originOf: originBehind(config.trustedProxies),
    finished,
  });
  const s3 = await createS3Handler({
    store,
    signers: s3Signers(identity, authenticator),
    names,
    fairness,
    env,
    region: config.site,
    domains: () => s3Domains(config, cluster).domains,
    websiteDomains: () => s3Domains(config, cluster).websites,
    dayMs: config.lifecycleDaySeconds * 1000,
    originOf: originBehind(config.trustedProxies),
    mayNotify: (url) => outside.allows(url),
    finished,
  });
  const sweeper = new JobRunner(env, new Sweeper({ env, store, state, name }), {
    startMs: SWEEPER_START_MS,
  });
  const listener = await serveHttp(
    { host: config.listen.host, port: config.listen.proxy, fd: inheritedSocket() },
    {
      raw: [
        {
          matches: s3.matches,
          handle: (request, response) => void s3.handle(request, response),
        },
        {
          matches: ({ url }) => swift.matches(url ?? '/'),
          handle: (request, response) => void swift.handle(request, response),
        },
      ],
      app,
    },
    publicTls(config),
    { connections: connectionLimits().proxy },
  );
  const forgetTls = keepPublicTls(env, config, listener.server);
  return {
    listener,
    trace: (txn) => proxy.tracer.find(txn),
    status: () => proxy.peers(),
    close: async (graceMs) => {
      readiness.stop();
      forgetTls();
      await listener.close(graceMs, LINGER_MS);
      await s3.close();
      await sweeper.stop();
      names.close();
      await keys.close();
      await authenticator.close();
    },
  };
}

/** Any authority that answers; each has state at hand, which this process does not hear from. */
function directoryRelay({ config, cluster, ask }: Foundation): AskDirectory {
  const verify = signedByAuthority(config);
  return async (above) => {
    let failure: unknown = new OperatingError('authority-error', 'there is no authority');
    for (const authority of cluster.authorities()) {
      try {
        const news = await fetchNewer(ask, authority, 'directory', above);
        return news && openNews(news, verify);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
}

/** `anello up` holds the proxy's port, so that a restart refuses no client; workers inherit the variable. */
function inheritedSocket(): number | undefined {
  const text = process.env['ANELLO_PROXY_FD'];
  return text === undefined || !/^\d{1,4}$/.test(text) ? undefined : Number(text);
}

/** SigV2 is checked where the secrets are. */
function s3Signers(identity: Identity, authenticator: ProxyAuthenticator): S3Signers {
  return {
    findS3Key: (request) => authenticator.findS3Key(request),
    accountDomain: (account) => authenticator.accountDomain(account),
    nameOfCanonical: (id) => authenticator.nameOfCanonical(id),
    checkSigV2: async (access, stringsToSign, signature, sessionToken) => {
      const texts = stringsToSign.map((text) => Buffer.from(text, 'latin1'));
      if (sessionToken !== undefined) {
        const keys = { access, sessionToken };
        const fits = texts.some((text) => identity.s3Keys.checkSession(keys, text, signature));
        return fits ? authenticator.signerOf(sessionToken) : undefined;
      }
      if ((await identity.credentials.keyPair(access)) === undefined) return 'no-such-key';
      for (const text of texts) {
        const token = await identity.s3Keys.check(access, text, signature);
        if (token === undefined) continue;
        return authenticator.signerOf(token.text);
      }
      return undefined;
    },
  };
}

/**
 * A file named `drain` in the node's folder takes the proxy out of its balancer: /healthcheck says 503,
 * everything else is served as before. `anello drain` makes and removes it.
 */
function isDrained({ data }: Pick<NodeConfig, 'data'>): boolean {
  return existsSync(path.join(data, 'drain'));
}

/** Seconds; from a cached GET to an upload of hours. */
const BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600,
];

/** What `anello` calls itself in /info. */
const VERSION = '0.1.0';
const SLOW_MS = 10_000;
const SWEEPER_START_MS = 60_000;

/** Metrics of every request; a log line of those that failed here or took long, of all at level debug. */
function requestReport(
  env: Pick<Env, 'log'>,
  registry: Registry,
): (request: FinishedRequest) => void {
  const labelNames = ['operation', 'status'];
  const seconds = new Histogram({
    name: 'anello_http_request_seconds',
    help: 'Duration of requests',
    labelNames,
    buckets: BUCKETS,
    registers: [registry],
  });
  const bytes = (name: string, help: string) => new Counter({ name, help, registers: [registry] });
  const received = bytes('anello_http_received_bytes_total', 'Body bytes from clients');
  const sent = bytes('anello_http_sent_bytes_total', 'Body bytes to clients');
  return (request) => {
    const { operation, status, elapsedMs } = request;
    seconds.observe({ operation, status }, elapsedMs / 1000);
    received.inc(request.bytesReceived);
    sent.inc(request.bytesSent);
    // A balancer that asks a starting proxy several times a second is no failure.
    if (request.path === '/healthcheck') return;
    if (isFailure(status)) env.log.warn('request.failed', { ...request });
    else if (elapsedMs > SLOW_MS) env.log.info('request.slow', { ...request });
    else env.log.debug('request', { ...request });
  };
}

/** The cluster document's, and what a node's own file names besides. */
function s3Domains(
  own: Pick<NodeConfig, 's3Domains' | 's3WebsiteDomains'>,
  cluster: ClusterSource,
): { readonly domains: string[]; readonly websites: string[] } {
  const { s3Domains: domains = [], s3WebsiteDomains: websites = [] } =
    cluster.current().settings ?? {};
  return {
    domains: [...domains, ...own.s3Domains],
    websites: [...websites, ...own.s3WebsiteDomains],
  };
}
