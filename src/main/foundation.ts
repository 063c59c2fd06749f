/**
 * What every process of a node starts with, in this order: effects, hybrid clock, the cluster's
 * bundle, the wire. Roles are put on top of it (node.ts, proxy-worker.ts).
 */
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Verify } from '#authority/bundle.ts';
import { BundleSource } from '#authority/bundle-source.ts';
import { createPeerGuard } from '#authority/peer-guard.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { TlsOptions } from '#env/env.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { PeerDirectory, PeerGuard, PeerLocation } from '#wire/contract.ts';
import { Endpoint } from '#wire/endpoint.ts';
import { type AskAuthority, authorityClient, fetchNewer } from './authority-client.ts';
import { openClock } from './clock-file.ts';
import type { NodeCertificate } from './node-certificate.ts';

export interface Foundation {
  readonly config: NodeConfig;
  readonly env: NodeEnv;
  readonly clock: HybridClock;
  readonly cluster: BundleSource;
  readonly wire: Endpoint;
  readonly registry: Registry;
  /** Name on the wire: the node's, with `/worker-N` behind it in a proxy worker. */
  readonly name: string;
  readonly ask: AskAuthority;
}

/** `worker` 0: the node's own process; else the number of a proxy worker. */
export async function layFoundation(
  config: NodeConfig,
  worker: number,
  certificate: NodeCertificate | undefined,
): Promise<Foundation> {
  const name = worker === 0 ? config.name : `${config.name}/worker-${worker}`;
  const env = createNodeEnv({
    logLevel: config.logLevel,
    facts: { node: name, site: config.site },
  });
  const clock = await openClock(env, config.data, config.workerIds[worker]!);
  const tls = (): TlsOptions | undefined => certificate?.current;
  const sharedKey = sharedKeyOf(config, env);
  const ask = authorityClient(tls, sharedKey);
  const cluster = await openCluster(env, config, worker, ask);
  const wire = new Endpoint({
    env,
    clock,
    cluster: { clusterId: config.clusterId, sharedKey },
    self: { node: name, site: config.site },
    peers: peersOf(config, cluster, tls),
    ...(certificate !== undefined && { guard: guardOf(config, cluster) }),
  });
  // Whoever was expelled is cut off with the bundle that says so.
  cluster.subscribe(() => wire.enforce());
  certificate?.renewed(() => wire.renew(certificate.current));
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_EVERY_MS });
  return { config, env, clock, cluster, wire, registry, name, ask };
}

/** Under TLS nobody asks for it: then it is a random one, which proves nothing. */
export function sharedKeyOf({ wireKeyFile }: NodeConfig, { random }: Pick<NodeEnv, 'random'>) {
  return wireKeyFile === undefined ? random.bytes(SHARED_KEY_BYTES) : readFileSync(wireKeyFile);
}

const SHARED_KEY_BYTES = 32;
/** How often the event loop's lag is measured: by default a hundred times a second, half of what an idle process took. */
const LAG_EVERY_MS = 500;

function openCluster(
  env: NodeEnv,
  config: NodeConfig,
  worker: number,
  ask: AskAuthority,
): Promise<BundleSource> {
  return BundleSource.open({
    env,
    file: path.join(config.data, worker === 0 ? 'bundle' : `bundle-worker-${worker}`),
    clusterId: config.clusterId,
    authorities: config.authorities,
    verify: signedByAuthority(config),
    fetchBundle: (authority, have) => fetchNewer(ask, authority, 'bundle', have),
  });
}

/** Whether the cluster's authority signed these bytes. */
export function signedByAuthority({ authorityKey }: Pick<NodeConfig, 'authorityKey'>): Verify {
  const key = createPublicKey(authorityKey);
  return (bytes, signature) => verifySignature(null, bytes, key, signature);
}

function guardOf({ clusterId }: NodeConfig, cluster: BundleSource): PeerGuard {
  let seen: ClusterView | undefined;
  let revoked: ReadonlySet<string> = new Set();
  return createPeerGuard(clusterId, {
    isRevoked: (node, serial) => {
      const view = cluster.current();
      if (view !== seen) {
        const { nodes, serials } = view.settings?.revoked ?? { nodes: [], serials: [] };
        revoked = new Set([...nodes, ...serials]);
        seen = view;
      }
      return revoked.has(node) || revoked.has(serial);
    },
  });
}

/** Nodes of the bundle by name; the others of one site are near, other sites are half a round trip away. */
function peersOf(
  config: NodeConfig,
  cluster: BundleSource,
  tls: () => TlsOptions | undefined,
): PeerDirectory {
  return {
    lookup: (name: string): PeerLocation | undefined => {
      const node = cluster.current().nodes.get(name);
      if (node === undefined) return undefined;
      const rttMs = config.siteRttMs[node.site] ?? config.rttMs;
      const delayMs = node.site === config.site ? 0 : rttMs / 2;
      const own = tls();
      return {
        address: node.wire,
        site: node.site,
        ...(own !== undefined && { tls: { ...own, serverName: name } }),
        ...(delayMs > 0 && { delayMs }),
      };
    },
  };
}
