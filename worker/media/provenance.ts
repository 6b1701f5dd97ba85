/** What a video says of itself, where players and platforms look: that nobody filmed it. */

const words = {
  rendered: {
    comment: 'AI-generated: a still portrait animated to speech',
    // IPTC's vocabulary: made by a model that learned from examples
    source: 'trainedAlgorithmicMedia',
  },
  simulated: {
    comment: 'Simulated: a still portrait, made without a model to test the server',
    source: 'algorithmicMedia',
  },
} as const;
const description = 'Synthetic media made by EchoMimic Server';
const kindOf = (simulated: boolean) => words[simulated ? 'simulated' : 'rendered'];

/** Tags that ffmpeg writes. */
export function metadataArguments(simulated: boolean): string[] {
  return [
    ...['-metadata', `comment=${kindOf(simulated).comment}`],
    ...['-metadata', `description=${description}`],
  ];
}

/** Where XMP lies in an MP4: ISO 16684-3. */
const xmpUuid = Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex');

/**
 * The box that says it to machines: XMP with IPTC's DigitalSourceType. It stands behind all others,
 * so that no offset in the file changes; who does not know it passes over it.
 */
export function xmpBox(simulated: boolean): Buffer {
  const { source } = kindOf(simulated);
  const packet = Buffer.from(
    `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmp:CreatorTool="EchoMimic Server"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/${source}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">${description}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>`,
  );
  const head = Buffer.alloc(8);
  head.writeUInt32BE(head.length + xmpUuid.length + packet.length);
  head.write('uuid', 4, 'latin1');
  return Buffer.concat([head, xmpUuid, packet]);
}
