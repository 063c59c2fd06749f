/** For tests: what a VOMS server says of somebody, right and wrong. */
import {
  der,
  ECDSA_SHA256,
  extension,
  HOUR_MS,
  type Issued,
  integer,
  NOW,
  octets,
  oid,
  sequence,
  signed,
  time,
} from './pki.ts';

export interface Attributes {
  readonly vo: string;
  readonly fqans: readonly string[];
  readonly holderIssuer: Buffer;
  readonly holderSerial: number;
  readonly server: Issued;
  /** Whose key signs; else the server's. */
  readonly signer?: Issued;
  /** Certificates that come along; else the server's. */
  readonly chain?: readonly Issued[];
  readonly fromMs?: number;
  readonly untilMs?: number;
}

/** The extension of a proxy certificate, with one attribute certificate as VOMS makes it. */
export function vomsExtension(wanted: Attributes): Buffer {
  const { fromMs = NOW - HOUR_MS, untilMs = NOW + 2 * HOUR_MS, server } = wanted;
  const directory = (subject: Buffer) => der(0xa4, subject);
  const holder = [directory(wanted.holderIssuer), integer(wanted.holderSerial)] as const;
  const info = sequence(
    integer(1),
    sequence(der(0xa0, sequence(holder[0]), holder[1])),
    der(0xa0, sequence(directory(server.subject))),
    sequence(oid(ECDSA_SHA256)),
    integer(5),
    sequence(time(fromMs), time(untilMs)),
    sequence(attribute(wanted)),
    sequence(certificates(wanted.chain ?? [server])),
  );
  const attributes = sequence(sequence(signed(info, (wanted.signer ?? server).privateKey)));
  return extension('1.3.6.1.4.1.8005.100.100.5', attributes, false);
}

function attribute({ vo, fqans }: Attributes): Buffer {
  const values = sequence(
    der(0xa0, der(0x86, Buffer.from(`${vo}://voms.example.org:15000`))),
    sequence(...fqans.map((fqan) => octets(Buffer.from(fqan)))),
  );
  return sequence(oid('1.3.6.1.4.1.8005.100.100.4'), der(0x31, values));
}

function certificates(chain: readonly Issued[]): Buffer {
  const list = sequence(sequence(...chain.map((each) => each.der)));
  return extension('1.3.6.1.4.1.8005.100.100.10', list, false);
}
