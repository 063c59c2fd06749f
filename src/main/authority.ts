/** The authority role: its API on a port of its own, and, once the node is on the wire, its own work. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket, Server as TlsServer } from 'node:tls';
import type { Context } from 'hono';
import { createAuthorityApp } from '#authority/app.ts';
import { type Authority, createAuthority } from '#authority/authority.ts';
import type { AskMoves } from '#authority/conductor.ts';
import { nodeSecretOf } from '#authority/principal.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { TlsOptions } from '#env/env.ts';
import type { NodeEnv } from '#env/node/node-env.ts';
import { peerCertificate } from '#env/node/socket.ts';
import { directoryNews } from '#identity/directory-news.ts';
import { listObjectKeys, makeObjectKey } from '#identity/object-keys.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
import { askMoves } from '#object/move-reports.ts';
import type { State } from '#state/state.ts';
import { JobRunner } from '#worker/runner.ts';
import type { Foundation } from './foundation.ts';
import { type HttpListener, serveHttp } from './http-server.ts';

export interface AuthorityRole {
  readonly authority: Authority;
  readonly listener: HttpListener;
  /** From now on it asks storage nodes how far moves are. */
  conduct(foundation: Foundation): void;
  /** New certificates for what connects from now on. */
  renew(tls: TlsOptions): void;
  close(graceMs: number): Promise<void>;
}

export interface AuthorityParts {
  readonly env: NodeEnv;
  readonly config: NodeConfig;
  readonly state: State;
  readonly tls: TlsOptions | undefined;
  readonly sharedKey: Uint8Array;
}

export async function startAuthority(parts: AuthorityParts): Promise<AuthorityRole> {
  const { env, config, state, tls, sharedKey } = parts;
  const masterKey = await loadMasterKey(env, config.masterKeyFile);
  let askMovesOfNodes: AskMoves = async () => [];
  const vault = createVault(env.random, masterKey);
  const authority = createAuthority({
    env,
    state,
    sealer: vault,
    address: addressOf(config, tls),
    askMoves: () => askMovesOfNodes(),
  });
  const app = createAuthorityApp({
    authority,
    log: env.log,
    credentials: credentialsOf,
    nodeSecret: tls === undefined ? nodeSecretOf(sharedKey) : undefined,
    directory: async (above) => directoryNews(state, await authority.store.signer(), above),
    objectKeys: {
      list: () => listObjectKeys({ env, state, vault }),
      make: (name) => makeObjectKey({ env, state, vault }, name),
    },
    secrets: (roles) => secretsFor(roles, tls !== undefined, masterKey, sharedKey),
  });
  const { host, authority: port } = config.listen;
  const listener = await serveHttp({ host, port }, { app }, tls && serverTls(tls));
  await authority.leadership.start();
  let runner: JobRunner | undefined;
  return {
    authority,
    listener,
    conduct: (foundation) => {
      const { wire, cluster } = foundation;
      askMovesOfNodes = () => askMoves(env, wire, cluster);
      runner = new JobRunner(env, authority.conductor.job);
    },
    renew: (next) => {
      const { server } = listener;
      if (server instanceof TlsServer) server.setSecureContext(serverTls(next));
    },
    close: async (graceMs) => {
      await runner?.stop();
      await authority.leadership.stop();
      await listener.close(graceMs);
    },
  };
}

/** Whoever joins has no certificate yet, so none is asked for in the handshake; the routes decide. */
function serverTls({ key, certificate, authority }: TlsOptions) {
  return { key, cert: certificate, ca: authority, requestCert: true, rejectUnauthorized: false };
}

function addressOf({ listen }: NodeConfig, tls: TlsOptions | undefined): string {
  const scheme = tls === undefined ? 'http' : 'https';
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  return `${scheme}://${host}:${listen.authority}`;
}

function credentialsOf(context: Context) {
  const { incoming } = context.env as { incoming?: IncomingMessage };
  const socket = incoming?.socket;
  const verified = socket instanceof TLSSocket && socket.authorized;
  return {
    authorization: context.req.header('authorization'),
    certificate: verified ? peerCertificate(socket) : undefined,
  };
}

/** The master key opens what identity keeps; the shared key is the wire's where there is no TLS. */
function secretsFor(
  roles: readonly string[],
  overTls: boolean,
  masterKey: Buffer,
  sharedKey: Uint8Array,
): Record<string, string> {
  const needsMaster = roles.some((role) => role !== 'storage');
  return {
    ...(needsMaster && { masterKey: masterKey.toString('hex') }),
    ...(!overTls && { sharedKey: Buffer.from(sharedKey).toString('hex') }),
  };
}
