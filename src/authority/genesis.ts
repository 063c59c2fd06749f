/**
 * A new cluster: from a description (policies, sites, and on one machine the nodes too) to the
 * authority's first state. Without nodes there are no rings yet: machines join, then a plan makes them.
 */

import type { Env } from '#env/env.ts';
import type { ClusterDescription } from '#ring/description.ts';
import type { Authority } from './authority.ts';
import type { Document } from './document.ts';
import { randomName } from './pieces.ts';
import { hashOfToken } from './principal.ts';

const ID_BYTES = 16;
const AFFIX_BYTES = 8;
const TOKEN_BYTES = 24;

export interface NewCluster {
  readonly description: Pick<ClusterDescription, 'name' | 'policies'>;
  readonly sites: readonly string[];
  /** `etcd:http://...` or `sqlite:FILE`. */
  readonly state: string;
}

/** @returns the operators' token, which is kept nowhere */
export async function initialiseCluster(
  { store }: Authority,
  { random }: Pick<Env, 'random'>,
  { description, sites, state }: NewCluster,
): Promise<string> {
  const token = random.bytes(TOKEN_BYTES).toString('base64url');
  const document: Document = {
    name: description.name,
    policies: [...description.policies],
    sites: sites.map((name) => ({ name, clients: [] })),
    links: [],
    limits: {},
    features: {},
    webhooks: [],
    state,
  };
  await store.initialise({
    clusterId: randomName(random, ID_BYTES),
    hashPrefix: randomName(random, AFFIX_BYTES),
    hashSuffix: randomName(random, AFFIX_BYTES),
    operatorHash: hashOfToken(token),
    document,
  });
  await store.change({ what: 'new cluster', who: 'authority' }, () => ({ result: undefined }));
  return token;
}
