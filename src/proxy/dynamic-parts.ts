/**
 * The parts of a dynamic large object: what a listing of its prefix shows now, in listing order.
 */
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ListedObject, Operation, Store } from './contract.ts';
import { MAX_PARTS, type ManifestPart } from './manifest-format.ts';

const PAGE = 10_000;

/**
 * `target` is `container/prefix`, percent-encoded as Swift's clients send it.
 * @throws OperatingError `malformed`, `manifest-part` {reason: no-container}
 */
export async function dynamicParts(
  store: Pick<Store, 'listObjects'>,
  operation: Operation,
  name: ObjectName,
  target: string,
): Promise<ManifestPart[]> {
  const { container, prefix } = parseTarget(target);
  const parts: ManifestPart[] = [];
  let marker = '';
  for (;;) {
    const query = { limit: PAGE, prefix, marker };
    const page = await store.listObjects(operation, { account: name.account, container }, query);
    if (page === undefined) throw noContainer(target);
    for (const item of page.items) {
      if ('prefix' in item) continue;
      parts.push(partOf(`/${name.account}/${container}/`, item));
      marker = item.name;
    }
    if (!page.truncated || page.items.length === 0) return parts;
    if (parts.length >= MAX_PARTS) throw tooMany(target);
  }
}

function partOf(base: string, item: ListedObject): ManifestPart {
  return {
    path: base + item.name,
    etag: item.etag,
    size: item.bytes,
    contentType: item.contentType,
    clientMicros: item.clientMicros,
  };
}

function parseTarget(target: string): { container: string; prefix: string } {
  const text = decode(target.startsWith('/') ? target.slice(1) : target);
  const slash = text.indexOf('/');
  if (slash <= 0) throw new OperatingError('malformed', 'X-Object-Manifest is container/prefix');
  return { container: text.slice(0, slash), prefix: text.slice(slash + 1) };
}

/** A target that is no valid percent-encoding is taken as it stands. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Not the same as nothing with the prefix: what was there can't be read as nothing. */
function noContainer(target: string): OperatingError {
  const facts = { target, reason: 'no-container' };
  return new OperatingError('manifest-part', 'there is no such container', facts);
}

function tooMany(target: string): OperatingError {
  return new OperatingError('malformed', 'a dynamic manifest has too many parts', { target });
}
