-- json_list(strings) -> a JSON array. cjson writes an empty table as an object.
local function json_list(strings)
  if #strings == 0 then return '[]' end
  return cjson.encode(strings)
end

