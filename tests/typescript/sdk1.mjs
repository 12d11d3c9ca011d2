// @modelcontextprotocol/sdk 1.x: the client inside most hosts of today.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { callEveryTool, readJob, report, withBearer } from './calls.mjs';

const { url, token } = await readJob();
const client = new Client({ name: 'tests', version: '1' });
const transport = new StreamableHTTPClientTransport(new URL(url), withBearer(token));
await client.connect(transport);
const revision = transport.protocolVersion;
const session = transport.sessionId !== undefined;
const found = await callEveryTool(client);
await transport.terminateSession();
await client.close();
report({ revision, session, ...found });
