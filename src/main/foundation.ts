/**
 * What every process of a node starts with, in this order: effects, hybrid clock, the cluster's
 * bundle, the wire. Roles are put on top of it (node.ts, proxy-worker.ts).
 */
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { MAX_BUNDLE_BYTES } from '#authority/bundle.ts';
import { BundleSource } from '#authority/bundle-source.ts';
import { OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import { type NodeConfig, parseNodeConfig } from '#config/node-config.ts';
import type { TlsOptions } from '#env/env.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import type { PeerDirectory, PeerLocation } from '#wire/contract.ts';
import { Endpoint } from '#wire/endpoint.ts';
import { openClock } from './clock-file.ts';

const FETCH_TIMEOUT_MS = 5000;

export interface Foundation {
  readonly config: NodeConfig;
  readonly env: NodeEnv;
  readonly clock: HybridClock;
  readonly cluster: BundleSource;
  readonly wire: Endpoint;
  /** Mutual TLS on the wire, where the node's file has certificates. */
  readonly tls: TlsOptions | undefined;
  readonly registry: Registry;
  /** Name on the wire: the node's, with `/worker-N` behind it in a proxy worker. */
  readonly name: string;
}

/** `worker` 0: the node's own process; else the number of a proxy worker. */
export async function layFoundation(configFile: string, worker: number): Promise<Foundation> {
  const config = parseNodeConfig(readFileSync(configFile, 'utf8'));
  const name = worker === 0 ? config.name : `${config.name}/worker-${worker}`;
  const env = createNodeEnv({
    logLevel: config.logLevel,
    facts: { node: name, site: config.site },
  });
  const clock = await openClock(env, config.data, config.workerIds[worker]!);
  const cluster = await openCluster(env, config, worker);
  const tls = readTls(config);
  const wire = new Endpoint({
    env,
    clock,
    cluster: { clusterId: config.clusterId, sharedKey: readFileSync(config.wireKeyFile) },
    self: { node: name, site: config.site },
    peers: peersOf(config, cluster, tls),
  });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return { config, env, clock, cluster, wire, tls, registry, name };
}

function openCluster(env: NodeEnv, config: NodeConfig, worker: number): Promise<BundleSource> {
  const key = createPublicKey(config.authorityKey);
  return BundleSource.open({
    env,
    file: path.join(config.data, worker === 0 ? 'bundle' : `bundle-worker-${worker}`),
    clusterId: config.clusterId,
    authorities: config.authorities,
    verify: (bytes, signature) => verifySignature(null, bytes, key, signature),
    fetchBundle,
  });
}

async function fetchBundle(authority: string, have: number): Promise<Buffer | undefined> {
  const response = await fetch(`${authority}/v1/bundle?have=${have}`, {
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (response.status === 204) return undefined;
  const length = Number(response.headers.get('content-length') ?? 0);
  if (!response.ok || length > MAX_BUNDLE_BYTES) {
    throw new OperatingError('authority-error', `the authority answers ${response.status}`, {
      authority,
    });
  }
  return Buffer.from(await response.arrayBuffer());
}

function readTls({ wireTls }: NodeConfig): TlsOptions | undefined {
  if (wireTls === undefined) return undefined;
  const read = (file: string): string => readFileSync(file, 'utf8');
  return {
    key: read(wireTls.keyFile),
    certificate: read(wireTls.certificateFile),
    authority: read(wireTls.authorityFile),
  };
}

/** Nodes of the bundle by name; the others of one site are near, other sites are half a round trip away. */
function peersOf(
  config: NodeConfig,
  cluster: BundleSource,
  tls: TlsOptions | undefined,
): PeerDirectory {
  return {
    lookup: (name: string): PeerLocation | undefined => {
      const node = cluster.current().nodes.get(name);
      if (node === undefined) return undefined;
      const delayMs = node.site === config.site ? 0 : config.rttMs / 2;
      return { address: node.wire, site: node.site, tls, ...(delayMs > 0 && { delayMs }) };
    },
  };
}
