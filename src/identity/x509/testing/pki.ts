/** For tests: authorities, users, proxies and revocation lists, made from scratch with P-256 keys. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface Pair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface Issued extends Pair {
  readonly der: Buffer;
  readonly subject: Buffer;
}

export const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const hex = length.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, content]);
};
export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
export const octets = (content: Uint8Array): Buffer => der(0x04, content);
export const integer = (value: number): Buffer => {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return der(0x02, bytes[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
};
export const TRUE = der(0x01, Buffer.from([0xff]));

export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return der(0x06, Buffer.from(bytes));
}

const ATTRIBUTE: Readonly<Record<string, string>> = {
  CN: '2.5.4.3',
  O: '2.5.4.10',
  C: '2.5.4.6',
  DC: '0.9.2342.19200300.100.1.25',
};

/** From `/C=IT/CN=x`. */
export function name(text: string): Buffer {
  const parts = Array.from(text.matchAll(/\/([A-Z]+)=((?:(?!\/[A-Z]+=).)*)/g));
  return sequence(
    ...parts.map(([, attribute, value]) =>
      der(0x31, sequence(oid(ATTRIBUTE[attribute!]!), der(0x0c, Buffer.from(value!)))),
    ),
  );
}

export const time = (ms: number): Buffer => {
  const text = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return der(0x18, Buffer.from(`${text}Z`));
};

export const extension = (id: string, content: Uint8Array, critical = true): Buffer =>
  sequence(oid(id), ...(critical ? [TRUE] : []), octets(content));
export const basicConstraints = (ca: boolean, pathLength?: number): Buffer =>
  extension(
    '2.5.29.19',
    sequence(...(ca ? [TRUE] : []), ...(pathLength === undefined ? [] : [integer(pathLength)])),
  );
/** Bits of the first byte: 0x80 digital signature, 0x04 sign certificates, 0x02 sign lists. */
export const keyUsage = (bits: number): Buffer =>
  extension('2.5.29.15', der(0x03, Buffer.from([0, bits])));
export const INHERIT = '1.3.6.1.5.5.7.21.1';
export const LIMITED = '1.3.6.1.4.1.3536.1.1.1.9';
export const proxyInfo = (policy: string, pathLength?: number, critical = true): Buffer => {
  const limit = pathLength === undefined ? [] : [integer(pathLength)];
  return extension('1.3.6.1.5.5.7.1.14', sequence(...limit, sequence(oid(policy))), critical);
};

export const newPair = (): Pair => generateKeyPairSync('ec', { namedCurve: 'P-256' });

export const ECDSA_SHA256 = '1.2.840.10045.4.3.2';

export interface Wanted {
  readonly subject: string;
  readonly issuer?: Issued;
  readonly keys?: Pair;
  readonly extensions?: readonly Buffer[];
  readonly fromMs?: number;
  readonly untilMs?: number;
  readonly serial?: number;
  /** Signed by another key than the issuer's. */
  readonly signer?: KeyObject;
  readonly issuerName?: string;
}

let serials = 1;
export const HOUR_MS = 3600_000;
export const NOW = Date.UTC(2026, 0, 1);

export function issue(wanted: Wanted): Issued {
  const keys = wanted.keys ?? newPair();
  const subject = name(wanted.subject);
  const issuerName =
    wanted.issuerName === undefined ? (wanted.issuer?.subject ?? subject) : name(wanted.issuerName);
  const { fromMs = NOW - HOUR_MS, untilMs = NOW + 12 * HOUR_MS, extensions = [] } = wanted;
  const tbs = sequence(
    der(0xa0, integer(2)),
    integer(wanted.serial ?? serials++),
    sequence(oid(ECDSA_SHA256)),
    issuerName,
    sequence(time(fromMs), time(untilMs)),
    subject,
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signer = wanted.signer ?? (wanted.issuer ?? keys).privateKey;
  return { ...keys, subject, der: signed(tbs, signer) };
}

/** SEQUENCE of what is signed, the algorithm, the signature. */
export function signed(tbs: Buffer, signer: KeyObject): Buffer {
  const signature = sign('sha256', tbs, signer);
  return sequence(tbs, sequence(oid(ECDSA_SHA256)), der(0x03, Buffer.from([0]), signature));
}

export function authority(subject: string, issuer?: Issued, pathLength?: number): Issued {
  const untilMs = NOW + 1000 * HOUR_MS;
  const extensions = [basicConstraints(true, pathLength), keyUsage(0x06)];
  return issue({ subject, issuer, extensions, untilMs });
}

export function user(subject: string, issuer: Issued, serial?: number): Issued {
  return issue({ subject, issuer, serial, extensions: [basicConstraints(false), keyUsage(0x80)] });
}

export function proxy(
  issuer: Issued,
  issuerName: string,
  policy = INHERIT,
  cn = '1',
  pathLength?: number,
): Issued {
  return issue({
    subject: `${issuerName}/CN=${cn}`,
    issuer,
    extensions: [proxyInfo(policy, pathLength)],
  });
}

export function revocationList(
  issuer: Issued,
  serials_: readonly number[],
  nextUpdateMs = NOW + HOUR_MS,
  signer = issuer.privateKey,
): Buffer {
  const entries = serials_.map((serial) => sequence(integer(serial), time(NOW)));
  const tbs = sequence(
    ...[
      integer(1),
      sequence(oid(ECDSA_SHA256)),
      issuer.subject,
      time(NOW - HOUR_MS),
      time(nextUpdateMs),
    ],
    ...(entries.length > 0 ? [sequence(...entries)] : []),
  );
  return signed(tbs, signer);
}

export function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').replace(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
