/** x-amz-copy-source: what a copy is made of, whether it may be read, and what must hold of it. */
import type { ObjectReader, Operation } from '#proxy/contract.ts';
import { percentDecode, utf8FromLatin1 } from '../http/utf8.ts';
import { authorizeOther, objectName } from './access.ts';
import { type Bucket, noSuchKey } from './bucket.ts';
import { checkConditions, preconditionFailed } from './conditions.ts';
import { type Content, contentOf } from './content.ts';
import { sourceKeyOf } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';
import { checkVersionId } from './version-id.ts';

export interface CopySource {
  readonly bucket: Bucket;
  readonly key: string;
  readonly reader: ObjectReader;
  readonly content: Content;
}

/** @throws S3Error */
export async function openCopySource(request: S3Request): Promise<CopySource> {
  const { container, key } = parseCopySource(request);
  const bucket = await authorizeOther(request, container, key, 's3:GetObject');
  const name = objectName(bucket, key);
  const customerKey = sourceKeyOf(request);
  const { txn, signal, read } = request;
  const operation: Operation =
    customerKey === undefined ? request : { txn, signal, read, customerKey };
  const reader = await request.service.store.openObject(operation, name);
  if (reader === undefined) throw noSuchKey(key);
  const content = await contentOf(request, bucket, name, reader, operation);
  // A copy has no `not modified`: either way the condition did not hold.
  if (checkConditions(request, content, 'x-amz-copy-source-') !== 'proceed') {
    throw preconditionFailed('x-amz-copy-source-If');
  }
  return { bucket, key, reader, content };
}

/** `[/]bucket/key[?versionId=ID]`, percent-encoded. */
export function parseCopySource(request: S3Request): { container: string; key: string } {
  const header = request.header('x-amz-copy-source') ?? '';
  const mark = header.indexOf('?');
  const path = percentDecode(utf8FromLatin1(mark < 0 ? header : header.slice(0, mark)) ?? '');
  const start = path?.startsWith('/') ? 1 : 0;
  const slash = path?.indexOf('/', start) ?? -1;
  if (path === undefined || slash <= start || slash === path.length - 1) {
    throw refuse(
      'InvalidArgument',
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      {
        ArgumentName: 'x-amz-copy-source',
        ArgumentValue: header,
      },
    );
  }
  const key = path.slice(slash + 1);
  if (mark >= 0) checkVersion(header.slice(mark + 1), key);
  return { container: path.slice(start, slash), key };
}

function checkVersion(query: string, key: string): void {
  const match = /^versionId=(.*)$/s.exec(query);
  if (match === null) throw refuse('InvalidArgument', 'Unsupported copy source parameter.');
  checkVersionId(percentDecode(match[1]!) ?? '', key);
}
