/** Addresses and ranges (`10.0.0.0/8`, `2001:db8::/32`, one address) as numbers; pure. */
interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

export function isRange(text: string): boolean {
  return parseRange(text) !== undefined;
}

/** False also for what is no address. */
export function isInRange(address: string, range: string): boolean {
  const [given, wanted] = [parseAddress(address), parseRange(range)];
  if (given === undefined || wanted === undefined || given.bits !== wanted.bits) return false;
  const shift = BigInt(wanted.bits - wanted.prefix);
  return given.value >> shift === wanted.value >> shift;
}

function parseRange(text: string): (Address & { readonly prefix: number }) | undefined {
  const [network = '', bits, more] = text.split('/');
  const address = parseAddress(network);
  if (address === undefined || more !== undefined) return undefined;
  if (bits === undefined) return { ...address, prefix: address.bits };
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  return prefix <= address.bits ? { ...address, prefix } : undefined;
}

function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parse6(text) : parse4(text);
}

function parse4(text: string): Address | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined;
  const octets = text.split('.').map(Number);
  if (octets.some((octet) => octet > 255)) return undefined;
  return { bits: 32, value: octets.reduce((sum, octet) => sum * 256n + BigInt(octet), 0n) };
}

function parse6(text: string): Address | undefined {
  const halves = text.toLowerCase().split('::');
  if (halves.length > 2 || text.length > 45) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - head!.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head!, ...Array.from({ length: missing }, () => '0'), ...(tail ?? [])];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  const value = groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
  return { bits: 128, value };
}
