/**
 * Where a request comes from. Behind a balancer that is what its X-Forwarded-For says, if and only if
 * the balancer is one of ours: anybody can write the header. Each hop appends whom it saw, so the list
 * is read from its end, past all that are trusted.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Context } from 'hono';
import { socketAddress } from '#api/keystone/app.ts';

const MAX_HOPS = 32;
const UNKNOWN = 'unknown';

/** @param trusted addresses and networks, `10.0.0.0/8` */
export function clientAddressBehind(trusted: readonly string[]): (c: Context) => string {
  const ours = blockList(trusted);
  const isOurs = (address: string): boolean =>
    isIP(address) !== 0 && ours.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  return (c) => {
    let address = plain(socketAddress(c));
    const hops = (c.req.header('X-Forwarded-For') ?? '').split(',').slice(-MAX_HOPS);
    while (isOurs(address)) {
      const before = plain(hops.pop()?.trim() ?? '');
      if (isIP(before) === 0) break;
      address = before;
    }
    return address === '' ? UNKNOWN : address;
  };
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/** An IPv4 address on an IPv6 socket is the same client. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
