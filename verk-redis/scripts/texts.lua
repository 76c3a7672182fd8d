-- Comes before the scripts that search for texts.

-- Whether an entry has all texts of ARGV from the word FIRST on. Each is searched as it is.
local function has_texts(entry, first)
  for i = first, #ARGV do
    if not string.find(entry, ARGV[i], 1, true) then
      return false
    end
  end
  return true
end
