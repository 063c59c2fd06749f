/**
 * The identity role: users and tokens on the state store, and the Keystone API as a hono app. It is
 * served on a port of its own, on the proxy's, so that one address is enough for a client, and on a TLS
 * port that asks for client certificates.
 */
import { readFileSync } from 'node:fs';
import type { Hono } from 'hono';
import { parse } from 'yaml';
import { originBehind } from '#api/http/origin.ts';
import { createKeystoneApp } from '#api/keystone/app.ts';
import type { CatalogueSite } from '#api/keystone/catalogue.ts';
import type { ProjectUsage } from '#api/keystone/usage.ts';
import { accountOf } from '#auth/caller.ts';
import { OperatingError } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { IdentitySettings } from '#identity/context.ts';
import { Grid } from '#identity/grid.ts';
import { createIdentity, type Identity } from '#identity/identity.ts';
import { loadMasterKey } from '#identity/vault.ts';
import { WebLogIns } from '#identity/web-log-ins.ts';
import { usageOf } from '#proxy/account-usage.ts';
import type { Operation, Store } from '#proxy/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { State } from '#state/state.ts';
import type { Foundation } from './foundation.ts';
import { type HttpListener, serveHttp } from './http-server.ts';
import { certificateAsking } from './identity-tls.ts';
import { keepPublicTls, publicTls } from './public-tls.ts';

const FETCH_TIMEOUT_MS = 10_000;
const USAGE_TIMEOUT_MS = 10_000;
const HOUR_MS = 3600_000;
const MAX_KEYS_BYTES = 1024 * 1024;

export interface IdentityRole {
  readonly identity: Identity;
  readonly app: Hono;
  /** The proxy of this process, when there is one, tells what projects hold. */
  readonly objects: { store?: Pick<Store, 'accountInfo' | 'listContainers'> };
  close(): Promise<void>;
}

export async function startIdentity(
  { env, config, cluster }: Foundation,
  state: State,
): Promise<IdentityRole> {
  const masterKey = await loadMasterKey(env, config.masterKeyFile);
  const identity = createIdentity({ env, state, masterKey, settings: settingsOf(config) });
  const objects: IdentityRole['objects'] = {};
  const [grid, web] = [await startGrid(env, config), await startWebLogIns(env, config)];
  const app = createKeystoneApp({
    identity,
    log: env.log,
    sites: () => catalogueSites(config, cluster),
    homeRegion: () => config.site,
    originOf: originBehind(config.trustedProxies),
    usage: (projectId) => usageOfProject(objects, projectId),
    ...(grid && { grid }),
    ...(web && { web }),
  });
  const close = async (): Promise<void> => {
    grid?.close();
    web?.close();
    await identity.close();
  };
  return { identity, app, objects, close };
}

/** As the cluster document says; else as the node's file does, with which a cluster on one machine is made. */
function catalogueSites(
  { publicUrls }: Pick<NodeConfig, 'publicUrls'>,
  cluster: ClusterSource,
): CatalogueSite[] {
  const told = cluster.current().settings?.sites ?? [];
  const known = told.flatMap(({ name, publicUrl }) => (publicUrl ? [[name, publicUrl]] : []));
  const urls = known.length > 0 ? Object.fromEntries(known) : publicUrls;
  return Object.entries(urls as Record<string, string>).map(([region, url]) => ({
    region,
    objectStore: url,
    identity: url,
  }));
}

/** Identity's own ports: plain, and the one that asks for certificates where it is configured. */
export async function serveIdentity(
  { config, env }: Pick<Foundation, 'config' | 'env'>,
  { app }: IdentityRole,
): Promise<HttpListener[]> {
  const { host, identity: port, identityTls: tlsPort } = config.listen;
  const own = await serveHttp({ host, port }, { app }, publicTls(config));
  const forgetTls = keepPublicTls(env, config, own.server);
  const listeners = [
    {
      ...own,
      close: async (graceMs: number) => {
        forgetTls();
        await own.close(graceMs);
      },
    },
  ];
  if (tlsPort !== undefined && config.identityTls !== undefined) {
    const { keyFile, certificateFile } = config.identityTls;
    const pair = { key: readFileSync(keyFile), cert: readFileSync(certificateFile) };
    listeners.push(await serveHttp({ host, port: tlsPort }, { app }, certificateAsking(pair)));
  }
  return listeners;
}

function settingsOf({ identity }: NodeConfig): Partial<IdentitySettings> {
  const { tokenHours, passwordDays, openRegistration } = identity;
  return {
    ...(tokenHours !== undefined && { tokenLifetimeMs: tokenHours * HOUR_MS }),
    ...(passwordDays !== undefined && { passwordLifetimeMs: passwordDays * 24 * HOUR_MS }),
    ...(openRegistration !== undefined && { openRegistration }),
  };
}

async function usageOfProject(
  { store }: IdentityRole['objects'],
  projectId: string,
): Promise<ProjectUsage> {
  if (store === undefined)
    throw new OperatingError('not-found', 'There is no object store behind this address.');
  const signal = AbortSignal.timeout(USAGE_TIMEOUT_MS);
  const operation: Operation = { txn: 'usage', signal, read: 'quorum' };
  const account = accountOf(projectId);
  const totals = await store.accountInfo(operation, account);
  return await usageOf(account, totals, (of, query) => store.listContainers(operation, of, query));
}

type Part = Pick<Foundation, 'env' | 'config'>;

async function startGrid(env: Part['env'], config: Part['config']): Promise<Grid | undefined> {
  const { caFolder, vomsFolder, rulesFile } = config.mapping ?? {};
  if (caFolder === undefined || rulesFile === undefined) return undefined;
  const grid = new Grid({ env, caFolder, vomsFolder, rulesFile, parseRules: parse });
  await grid.start();
  return grid;
}

async function startWebLogIns(
  env: Part['env'],
  config: Part['config'],
): Promise<WebLogIns | undefined> {
  const { issuersFile, rulesFile } = config.mapping ?? {};
  if (issuersFile === undefined || rulesFile === undefined) return undefined;
  const web = new WebLogIns({ env, issuersFile, rulesFile, parse, fetchText });
  await web.start();
  return web;
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url, {
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    redirect: 'error',
  });
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > MAX_KEYS_BYTES) throw new OperatingError('too-large', `${url}: too much`);
    parts.push(part);
  }
  if (!response.ok) throw new OperatingError('no-keys', `${url} answers ${response.status}`);
  return Buffer.concat(parts).toString();
}
