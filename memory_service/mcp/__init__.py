"""The MCP server: the memory of one user, agent, app or run as tools for a model.

connection  whose memory it is: bound by the key, the launch arguments or the connection's headers
tools       what a model can do with it: arguments, results, and the stages behind them
server      the SDK's server around the tools
http        streamable HTTP: keys, hosts, origins

The scope is no argument of any tool, so a model, or a text that steers it, cannot reach another user's memories.
"""
