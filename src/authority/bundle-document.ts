/** From what the authority keeps to what every process is told: the bundle's document. Pure. */
import type { ClusterDocument } from './bundle.ts';
import type { Document } from './document.ts';
import { authoritiesOf } from './membership.ts';
import type { ClusterRecord, NodeRecord } from './records.ts';

export function bundleDocument(
  { hashPrefix, hashSuffix }: Pick<ClusterRecord, 'hashPrefix' | 'hashSuffix'>,
  document: Document,
  nodes: ReadonlyMap<string, NodeRecord>,
): ClusterDocument {
  const members = [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const active = members.filter((node) => !node.expelled);
  return {
    hashPrefix,
    hashSuffix,
    policies: document.policies,
    nodes: active.map(({ name, site, zone, wire, roles }) => ({ name, site, zone, wire, roles })),
    settings: {
      name: document.name,
      sites: document.sites.map(({ name, publicUrl }) => ({
        name,
        ...(publicUrl !== undefined && { publicUrl }),
      })),
      links: document.links,
      limits: document.limits,
      features: document.features,
      ...(document.webhooks.length > 0 && { webhooks: document.webhooks }),
      ...(document.s3Domains && { s3Domains: document.s3Domains }),
      ...(document.s3WebsiteDomains && { s3WebsiteDomains: document.s3WebsiteDomains }),
      authorities: authoritiesOf(active),
      revoked: {
        nodes: members.filter((node) => node.expelled).map(({ name }) => name),
        serials: members.flatMap((node) => node.revoked),
      },
    },
  };
}
