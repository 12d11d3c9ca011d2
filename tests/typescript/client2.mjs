// @modelcontextprotocol/client 2.x, which speaks both eras: `mode` is its version negotiation.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { callEveryTool, readJob, report, withBearer } from './calls.mjs';

const { url, token, mode } = await readJob();
const client = new Client({ name: 'tests', version: '1' }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(url), withBearer(token));
await client.connect(transport);
const revision = client.getNegotiatedProtocolVersion();
const session = transport.sessionId !== undefined;
const found = await callEveryTool(client);
if (session) await transport.terminateSession();
await client.close();
report({ revision, session, ...found });
