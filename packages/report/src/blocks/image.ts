import { ReportError } from "../errors.ts";
import { html, type Html } from "../html.ts";

/** A picture that travels inside the report. */
export interface ImageOptions {
  /** Bytes of a PNG, JPEG, WebP or GIF file. */
  bytes: Uint8Array;
  /** What is seen, for readers who do not see it. */
  alt: string;
  /** Text below. */
  caption?: string;
}

const startsWith = (bytes: Uint8Array, signature: readonly number[], offset = 0): boolean => signature.every((byte, i) => bytes[offset + i] === byte);

/** Media type by the file's first bytes. */
function mediaType(bytes: Uint8Array): string {
  if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47])) return "image/png";
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return "image/jpeg";
  if (startsWith(bytes, [0x52, 0x49, 0x46, 0x46]) && startsWith(bytes, [0x57, 0x45, 0x42, 0x50], 8)) return "image/webp";
  if (startsWith(bytes, [0x47, 0x49, 0x46, 0x38])) return "image/gif";
  throw new ReportError(`a picture of ${bytes.length} bytes is not PNG, JPEG, WebP or GIF`, { code: "IMAGE_TYPE", hint: "Give the bytes of an image file." });
}

/**
 * A picture with its caption.
 *
 * @throws ReportError `IMAGE_TYPE` for bytes of another kind.
 */
export function image({ bytes, alt, caption }: ImageOptions): Html {
  const source = `data:${mediaType(bytes)};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}`;
  return html`<figure class="picture"><img src="${source}" alt="${alt}">${caption !== undefined && html`<figcaption>${caption}</figcaption>`}</figure>`;
}

/** Pictures in a grid, such as contact sheets. */
export function gallery(images: readonly ImageOptions[]): Html {
  return images.length === 0 ? html`<p class="no-data">no data</p>` : html`<div class="gallery">${images.map(image)}</div>`;
}
