/**
 * Where a request comes from. Behind a balancer that is what its X-Forwarded-For and -Proto say, if and
 * only if the balancer is one of ours: anybody can write these headers. Each hop appends whom it saw, so
 * the list is read from its end, past all that are trusted.
 */
import { isIP } from 'node:net';
import { Networks } from '#base/networks.ts';

export interface Origin {
  /** `unknown` where nobody tells. */
  readonly address: string;
  /** The client speaks TLS: with us, or with the balancer. */
  readonly isSecure: boolean;
}

/** What the last hop shows. */
export interface Hop {
  readonly address: string | undefined;
  readonly isSecure: boolean;
  header(name: string): string | undefined;
}

export type OriginOf = (hop: Hop) => Origin;

const MAX_HOPS = 32;
const UNKNOWN = 'unknown';

/** @param trusted addresses and networks, `10.0.0.0/8` */
export function originBehind(trusted: readonly string[]): OriginOf {
  const ours = new Networks(trusted);
  return (hop) => {
    let address = plain(hop.address ?? '');
    if (!ours.has(address)) return { address: address || UNKNOWN, isSecure: hop.isSecure };
    const isSecure = hop.isSecure || hop.header('x-forwarded-proto')?.toLowerCase() === 'https';
    const hops = (hop.header('x-forwarded-for') ?? '').split(',').slice(-MAX_HOPS);
    while (ours.has(address)) {
      const before = plain(hops.pop()?.trim() ?? '');
      if (isIP(before) === 0) break;
      address = before;
    }
    return { address, isSecure };
  };
}

/** An IPv4 address on an IPv6 socket is the same client. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
