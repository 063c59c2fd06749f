/**
 * The content type of an upload: what the client says, else guessed from the name's ending, as
 * Swift does with Python's table.
 */
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

const FALLBACK = 'application/octet-stream';

const TYPES: Readonly<Record<string, string>> = {
  '7z': 'application/x-7z-compressed',
  aac: 'audio/aac',
  avi: 'video/x-msvideo',
  avif: 'image/avif',
  bin: FALLBACK,
  bmp: 'image/bmp',
  bz2: 'application/x-bzip2',
  c: 'text/x-c',
  css: 'text/css',
  csv: 'text/csv',
  deb: 'application/vnd.debian.binary-package',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  epub: 'application/epub+zip',
  gif: 'image/gif',
  gz: 'application/gzip',
  h: 'text/x-c',
  htm: 'text/html',
  html: 'text/html',
  ico: 'image/vnd.microsoft.icon',
  ics: 'text/calendar',
  iso: 'application/x-iso9660-image',
  jar: 'application/java-archive',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  json: 'application/json',
  log: 'text/plain',
  m3u8: 'application/vnd.apple.mpegurl',
  m4a: 'audio/mp4',
  md: 'text/markdown',
  mid: 'audio/midi',
  mjs: 'text/javascript',
  mkv: 'video/x-matroska',
  mov: 'video/quicktime',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  mpeg: 'video/mpeg',
  mpg: 'video/mpeg',
  odp: 'application/vnd.oasis.opendocument.presentation',
  ods: 'application/vnd.oasis.opendocument.spreadsheet',
  odt: 'application/vnd.oasis.opendocument.text',
  ogg: 'audio/ogg',
  ogv: 'video/ogg',
  opus: 'audio/opus',
  otf: 'font/otf',
  pdf: 'application/pdf',
  png: 'image/png',
  ppt: 'application/vnd.ms-powerpoint',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  ps: 'application/postscript',
  py: 'text/x-python',
  qcow2: 'application/x-qemu-disk',
  rar: 'application/vnd.rar',
  rpm: 'application/x-rpm',
  rtf: 'application/rtf',
  sh: 'application/x-sh',
  sql: 'application/sql',
  svg: 'image/svg+xml',
  tar: 'application/x-tar',
  tgz: 'application/gzip',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  ts: 'video/mp2t',
  tsv: 'text/tab-separated-values',
  ttf: 'font/ttf',
  txt: 'text/plain',
  wasm: 'application/wasm',
  wav: 'audio/x-wav',
  webm: 'video/webm',
  webp: 'image/webp',
  woff: 'font/woff',
  woff2: 'font/woff2',
  xls: 'application/vnd.ms-excel',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  xml: 'text/xml',
  xz: 'application/x-xz',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  zip: 'application/zip',
  zst: 'application/zstd',
};

/** Undefined: the client named none, and guessing was not asked for. */
export function givenContentType(request: SwiftRequest): string | undefined {
  if (request.isTrue('x-detect-content-type')) return undefined;
  const given = request.text('content-type')?.trim();
  if (given === undefined || given === '') return undefined;
  if (given.length > request.service.limits.maxHeaderBytes) {
    throw refuse('bad-request', 'Content-Type is too long');
  }
  return given;
}

export function guessContentType(object: string): string {
  const dot = object.lastIndexOf('.');
  if (dot < 0 || dot < object.lastIndexOf('/')) return FALLBACK;
  const ending = object.slice(dot + 1).toLowerCase();
  return Object.hasOwn(TYPES, ending) ? TYPES[ending]! : FALLBACK;
}
