/**
 * What a presigned URL says in its query for headers: SDKs move the x-amz-* headers of a request there,
 * so that whoever uses the URL need not send them. The query is under the signature, so they count like
 * headers, which stand before them where both come.
 *
 * But for checksums: of a body that the signer has not seen, the SDK for JavaScript writes that of an
 * empty one. S3 does not look at it there, and no upload through such a URL would ever fit.
 */
import { refuse } from './errors.ts';
import type { Query } from './query.ts';

/** The signature's own parameters, how the body is framed, and its checksum. */
const NO_HEADERS = new RegExp(
  `^x-amz-(?:${[
    ...['algorithm', 'credential', 'date', 'expires', 'signature', 'signedheaders'],
    ...['security-token', 'content-sha256', 'decoded-content-length', 'trailer'],
    ...['sdk-checksum-algorithm', 'checksum-(?!(?:algorithm|mode|type)$).*'],
  ].join('|')})$`,
);
// biome-ignore lint/suspicious/noControlCharactersInRegex: no header could carry them
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

/** By name in lower case, as Node gives headers; undefined: not a presigned URL. @throws S3Error */
export function headersOfUrl(query: Query): ReadonlyMap<string, string> | undefined {
  if (!query.has('X-Amz-Credential')) return undefined;
  const found = new Map<string, string>();
  for (const [given, value] of query.pairs()) {
    const name = given.toLowerCase();
    if (!name.startsWith('x-amz-') || NO_HEADERS.test(name) || found.has(name)) continue;
    if (CONTROL.test(value)) {
      throw refuse('InvalidArgument', 'A header can not have this value.', { ArgumentName: given });
    }
    found.set(name, value.trim());
  }
  return found;
}
