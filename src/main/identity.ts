/**
 * The identity role: users and tokens on the state store, and the Keystone API as a hono app. It is
 * served on a port of its own and, so that one address is enough for a client, on the proxy's.
 */

import type { Hono } from 'hono';
import { createKeystoneApp } from '#api/keystone/app.ts';
import type { CatalogueSite } from '#api/keystone/catalogue.ts';
import { createIdentity, type Identity } from '#identity/identity.ts';
import { loadMasterKey } from '#identity/vault.ts';
import type { State } from '#state/state.ts';
import type { Foundation } from './foundation.ts';

export interface IdentityRole {
  readonly identity: Identity;
  readonly app: Hono;
}

export async function startIdentity(
  { env, config }: Foundation,
  state: State,
): Promise<IdentityRole> {
  const masterKey = await loadMasterKey(env, config.masterKeyFile);
  const identity = createIdentity({ env, state, masterKey });
  const sites: CatalogueSite[] = Object.entries(config.publicUrls).map(([region, url]) => ({
    region,
    objectStore: url,
    identity: url,
  }));
  const app = createKeystoneApp({
    identity,
    log: env.log,
    sites: () => sites,
    homeRegion: () => config.site,
  });
  return { identity, app };
}
