/** What GET and HEAD of an account show. */
import type { AccountInfo } from '#proxy/contract.ts';
import { xTimestamp } from '../http/http-date.ts';
import { latin1FromUtf8, titleCase } from '../http/utf8.ts';
import type { SwiftRequest } from './request.ts';

/** Only owners see these. */
const OWNER_ONLY = /^x-account-(?:meta-temp-url-key|access-control)/;

export function accountHeaders(request: SwiftRequest, info: AccountInfo): string[] {
  const headers = [
    'X-Account-Container-Count',
    String(info.containers),
    'X-Account-Object-Count',
    String(info.objects),
    'X-Account-Bytes-Used',
    String(info.bytes),
    'X-Timestamp',
    xTimestamp(info.clientMicros),
    'Accept-Ranges',
    'bytes',
  ];
  for (const name in info.headers) {
    if (!request.owner && OWNER_ONLY.test(name)) continue;
    headers.push(titleCase(name), latin1FromUtf8(info.headers[name]!));
  }
  return headers;
}

/** Swift's answer for an account that nobody has written to yet is that of an empty one. */
export function emptyAccount(): AccountInfo {
  return { exists: false, headers: {}, containers: 0, objects: 0, bytes: 0, clientMicros: 0 };
}
