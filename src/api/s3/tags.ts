/** Tags: of objects (a metadata group of their own) and of buckets; header, XML and limits. */
import { utf8FromLatin1 } from '../http/utf8.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import { element, leaf } from './xml.ts';
import { child, children, onlyChildren, requiredText, type XmlElement } from './xml-reader.ts';

export type Tags = Readonly<Record<string, string>>;

const MAX_KEY = 128;
const MAX_VALUE = 256;
const FORM = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

/** x-amz-tagging: `name=value&...`, url-encoded; an empty header means no tags. */
export function tagsOfHeader(request: S3Request): { tags?: Tags } {
  const header = request.header('x-amz-tagging');
  if (header === undefined || header === '') return {};
  const pairs = header.split('&').map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    const [name, value] = equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    return [decoded(name, header), decoded(value, header)];
  });
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) throw badHeader(header);
  return { tags: checkTags(pairs, request.service.limits.maxTags) };
}

function decoded(text: string, header: string): string {
  try {
    return decodeURIComponent((utf8FromLatin1(text) ?? text).replaceAll('+', ' '));
  } catch {
    throw badHeader(header); // The only thing decodeURIComponent() throws for are bad escapes.
  }
}

function badHeader(header: string): S3Error {
  return refuse(
    'InvalidArgument',
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
    { ArgumentName: 'x-amz-tagging', ArgumentValue: header },
  );
}

/** `<Tagging><TagSet><Tag>...`. @throws S3Error MalformedXML, InvalidTag, BadRequest */
export function tagsOfXml(tagging: XmlElement, most: number): Tags {
  onlyChildren(tagging, ['TagSet']);
  const set = child(tagging, 'TagSet');
  if (set === undefined) throw refuse('MalformedXML');
  return tagsOfSet(set, most);
}

/** `<Tag>...` in an element of any name. @throws S3Error MalformedXML, InvalidTag, BadRequest */
export function tagsOfSet(set: XmlElement, most: number): Tags {
  onlyChildren(set, ['Tag']);
  const pairs = children(set, 'Tag').map((tag): [string, string] => {
    onlyChildren(tag, ['Key', 'Value']);
    return [requiredText(tag, 'Key'), requiredText(tag, 'Value')];
  });
  return checkTags(pairs, most);
}

export function checkTags(pairs: readonly (readonly [string, string])[], most: number): Tags {
  const tags = new Map<string, string>();
  for (const [name, value] of pairs) {
    if (tags.has(name)) {
      throw refuse('InvalidTag', 'Cannot provide multiple Tags with the same key', {
        TagKey: name,
      });
    }
    if (name === '' || name.length > MAX_KEY || !FORM.test(name)) {
      throw refuse('InvalidTag', 'The TagKey you have provided is invalid', { TagKey: name });
    }
    if (value.length > MAX_VALUE || !FORM.test(value)) {
      throw refuse('InvalidTag', 'The TagValue you have provided is invalid', { TagKey: name });
    }
    if (name.startsWith('aws:')) {
      throw refuse('InvalidTag', 'System tags cannot be added/updated by requester', {
        TagKey: name,
      });
    }
    tags.set(name, value);
  }
  if (tags.size > most) {
    const what = most > 10 ? 'Bucket' : 'Object';
    throw refuse('BadRequest', `${what} tags cannot be greater than ${most}`);
  }
  return Object.fromEntries(tags);
}

export function tagSetXml(tags: Tags): string {
  const items = Object.entries(tags).map(([name, value]) =>
    element('Tag', leaf('Key', name) + leaf('Value', value)),
  );
  return element('TagSet', items.join(''));
}
