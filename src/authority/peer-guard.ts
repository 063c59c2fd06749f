/**
 * Who may connect to whom on the wire, and which calls a role may make. Certificates say the role;
 * the bundle says whose certificates are void.
 *
 *   caller      may call
 *   proxy       what a client's request needs: object.*, container.*, account.*, status
 *   storage     the same (replicas repair each other by these calls), what only replicas ask, repair.*
 *   identity, authority   nothing but status
 */
import type { PeerCertificate } from '#env/env.ts';
import type { PeerGuard, SelfIdentity } from '#wire/contract.ts';

/** Services whose calls move data. */
const DATA = new Set(['object', 'container', 'account', 'device']);
/** Services that storage nodes have for each other. */
const REPAIR = new Set(['repair']);
const STATUS = new Set(['device.status', 'device.moves']);
/** What only replicas ask each other: a proxy that was broken into must not read whole partitions by it. */
const REPLICAS_ONLY = /\.(states|digests|bodies|versions|pull|containers|fence|forget)$/;

export interface Revocations {
  /** Names of expelled nodes and serial numbers of void certificates. */
  isRevoked(node: string, serial: string): boolean;
}

export function createPeerGuard(clusterId: string, revocations: Revocations): PeerGuard {
  return {
    refusal: (certificate, claimed) => {
      if (certificate === undefined) return 'no certificate';
      return (
        contradiction(clusterId, certificate, claimed) ??
        (revocations.isRevoked(certificate.commonName, certificate.serial)
          ? 'this node was expelled'
          : undefined)
      );
    },
    permits: (certificate, method) => certificate !== undefined && mayCall(certificate, method),
  };
}

function contradiction(
  clusterId: string,
  { organization, locality, units }: PeerCertificate,
  claimed: SelfIdentity,
): string | undefined {
  if (organization !== clusterId) return 'a certificate of another cluster';
  if (locality !== claimed.site) return 'the certificate is for another site';
  return units.length === 0 ? 'the certificate gives no role' : undefined;
}

function mayCall({ units }: PeerCertificate, method: string): boolean {
  if (STATUS.has(method)) return true;
  const service = method.split('.', 1)[0]!;
  if (REPAIR.has(service)) return units.includes('storage');
  if (!DATA.has(service)) return false;
  return units.includes('storage') || (units.includes('proxy') && !REPLICAS_ONLY.test(method));
}
