/** Continuation tokens: where a listing goes on, opaque to clients. `a` is the form's version. */
import { utf8FromBytes } from '../http/utf8.ts';
import { refuse } from './errors.ts';

const VERSION = 'a';
/** No name of anything is longer. */
const MAX_BYTES = 1024;

export function tokenText(last: string): string {
  return VERSION + Buffer.from(last).toString('base64url');
}

/** Undefined: from the beginning. @throws S3Error InvalidArgument */
export function continuationToken(token: string | undefined): string | undefined {
  if (token === undefined) return undefined;
  const bytes = Buffer.from(token.slice(1), 'base64url');
  const last = utf8FromBytes(bytes);
  const isLong = bytes.length > MAX_BYTES;
  if (token[0] !== VERSION || isLong || last === undefined || tokenText(last) !== token) {
    throw refuse('InvalidArgument', 'The continuation token provided is incorrect', {
      ArgumentName: 'continuation-token',
    });
  }
  return last;
}
