/** x-amz-copy-source: what a copy is made of, whether it may be read, and what must hold of it. */
import type { ObjectReader, Operation } from '#proxy/contract.ts';
import { percentDecode, utf8FromLatin1 } from '../http/utf8.ts';
import { authorizeOther, objectName } from './access.ts';
import type { Bucket } from './bucket.ts';
import { checkConditions, preconditionFailed } from './conditions.ts';
import { type Content, contentOf } from './content.ts';
import { sourceKeyOf } from './encryption-headers.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import { checkVersionId, isMarker, notFound } from './version-id.ts';

export interface CopySource {
  readonly bucket: Bucket;
  readonly key: string;
  /** Where the request named one. */
  readonly version: string | undefined;
  readonly reader: ObjectReader;
  readonly content: Content;
}

/** @throws S3Error */
export async function openCopySource(request: S3Request): Promise<CopySource> {
  const { container, key, version } = parseCopySource(request);
  const bucket = await authorizeOther(request, container, key, 's3:GetObject', version);
  const name = objectName(bucket, key, version);
  const customerKey = sourceKeyOf(request);
  const { txn, signal, read } = request;
  const operation: Operation =
    customerKey === undefined ? request : { txn, signal, read, customerKey };
  const reader = await request.service.store.openObject(operation, name);
  if (reader === undefined) throw await notFound(request, bucket, name);
  if (isMarker(reader.state)) throw copyOfMarker();
  const content = await contentOf(request, bucket, name, reader, operation);
  // A copy has no `not modified`: either way the condition did not hold.
  if (checkConditions(request, content, 'x-amz-copy-source-') !== 'proceed') {
    throw preconditionFailed('x-amz-copy-source-If');
  }
  return { bucket, key, version, reader, content };
}

/** Which version was copied, for the answer. */
export function copiedVersion({ reader }: CopySource): string[] {
  const id = reader.state.data?.versionId;
  return id === undefined ? [] : ['x-amz-copy-source-version-id', id];
}

function copyOfMarker(): S3Error {
  return refuse(
    'InvalidRequest',
    'The source of a copy request may not specifically refer to a delete marker by version id.',
  );
}

/** `[/]bucket/key[?versionId=ID]`, percent-encoded. */
function parseCopySource(request: S3Request): {
  readonly container: string;
  readonly key: string;
  readonly version: string | undefined;
} {
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
  const version = mark < 0 ? undefined : versionOf(header.slice(mark + 1));
  return { container: path.slice(start, slash), key, version };
}

function versionOf(query: string): string {
  const match = /^versionId=(.*)$/s.exec(query);
  if (match === null) throw refuse('InvalidArgument', 'Unsupported copy source parameter.');
  const id = percentDecode(match[1]!) ?? '';
  checkVersionId(id);
  return id;
}
