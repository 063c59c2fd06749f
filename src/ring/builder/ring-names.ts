/** The rings of a cluster: `object/<policy>` for each policy, `container`, `account`. */
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { ClusterDescription } from '../description.ts';
import type { RingSettings } from './state.ts';

export interface RingSpecification {
  readonly name: string;
  readonly settings: RingSettings;
}

export function ringsOf(description: ClusterDescription): RingSpecification[] {
  const { partPower, overload, minPartHours, rowReplicas } = description;
  const common = { partPower, overload, minPartHours };
  const rows = (name: string, policy: number, replicas: number): RingSpecification => ({
    name,
    settings: { ...common, policy, replicas, copies: Math.floor(replicas) },
  });
  return [
    ...description.policies.map(({ name, index, copies, states }) => ({
      name: `object/${name}`,
      settings: { ...common, policy: index, replicas: states, copies },
    })),
    rows('container', CONTAINER_RING, rowReplicas.container),
    rows('account', ACCOUNT_RING, rowReplicas.account),
  ];
}

/** The settings of one ring of a description, by default the default policy's. */
export function settingsOf(description: ClusterDescription, ring?: string): RingSettings {
  const standard = description.policies.find((policy) => policy.isDefault);
  const name = ring ?? `object/${standard?.name}`;
  const found = ringsOf(description).find((specification) => specification.name === name);
  if (found !== undefined) return found.settings;
  throw new OperatingError('unknown-ring', `no ring "${name}" in this description`, { name });
}
